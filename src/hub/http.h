// One HTTP request over libcurl.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace graft::hub {

struct HttpResponse {
  long status = 0;    // 0 = no answer
  std::string error;  // why the transfer failed or ended early; "" = it is complete
  bool connected = false;
  bool refused = false;                        // a redirect that is not followed; a retry does not help
  std::string url;                             // after redirects
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // empty if a sink received it

  std::string header(const std::string& name) const;  // "" if absent
  bool ok() const { return error.empty() && status >= 200 && status < 300; }
};

struct HttpRequest {
  std::string url;
  bool head = false;
  std::string token;         // sent as bearer token, to the origin of `url` only
  uint64_t range_begin = 0;  // requests the bytes from this offset on
  // Takes the body of a 2xx answer piece by piece; status and headers are filled in. Returning false ends the
  // transfer.
  std::function<bool(const HttpResponse&, std::string_view)> sink;
  const std::atomic<bool>* stop = nullptr;  // true ends the transfer
};

// Follows up to ten redirects (never from https to http) and drops the token if one leads to another origin.
// A HEAD request ends at a redirect to another origin or one that carries X-Linked-Etag: that answer
// describes the file.
HttpResponse http_request(const HttpRequest& request);

}  // namespace graft::hub
