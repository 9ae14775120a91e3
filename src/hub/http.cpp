#include "hub/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <memory>

#include "base/error.h"
#include "hub/printable.h"

namespace graft::hub {

namespace {

constexpr size_t kMaxBody = size_t{64} << 20;  // an answer that is not a file
constexpr int kMaxRedirects = 10;

struct Transfer {
  const HttpRequest& request;
  HttpResponse response;
};

size_t on_header(char* data, size_t, size_t size, void* user) {
  HttpResponse& response = static_cast<Transfer*>(user)->response;
  const std::string_view line(data, size);
  // the headers of the final answer follow those of "100 Continue" or of a proxy
  if (line.starts_with("HTTP/")) {
    response.headers.clear();
    const size_t space = line.find(' ');
    response.status =
        space == std::string_view::npos ? 0 : std::atol(std::string(line.substr(space + 1, 3)).c_str());
    return size;
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return size;
  std::string name(line.substr(0, colon));
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  const size_t begin = line.find_first_not_of(" \t", colon + 1), end = line.find_last_not_of(" \t\r\n");
  response.headers[name] =
      begin == std::string_view::npos || end < begin ? "" : line.substr(begin, end - begin + 1);
  return size;
}

size_t on_body(char* data, size_t, size_t size, void* user) {
  Transfer& t = *static_cast<Transfer*>(user);
  if (t.request.sink && t.response.status >= 200 && t.response.status < 300)
    return t.request.sink(t.response, {data, size}) ? size : CURL_WRITEFUNC_ERROR;
  if (t.response.body.size() + size > kMaxBody) return CURL_WRITEFUNC_ERROR;
  t.response.body.append(data, size);
  return size;
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const std::atomic<bool>* stop = static_cast<Transfer*>(user)->request.stop;
  return stop && stop->load() ? 1 : 0;
}

struct CurlDeleter {
  void operator()(CURL* p) const { curl_easy_cleanup(p); }
  void operator()(CURLU* p) const { curl_url_cleanup(p); }
  void operator()(curl_slist* p) const { curl_slist_free_all(p); }
};

HttpResponse perform(const HttpRequest& request, const std::string& url, const std::string& token) {
  static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
  const std::unique_ptr<CURL, CurlDeleter> curl(ready == CURLE_OK ? curl_easy_init() : nullptr);
  if (!curl) fail("libcurl cannot start");
  Transfer transfer{request, {}};
  transfer.response.url = url;
  char message[CURL_ERROR_SIZE] = "";
  curl_slist* list = curl_slist_append(nullptr, "Accept-Encoding: identity");
  if (!token.empty()) list = curl_slist_append(list, ("Authorization: Bearer " + token).c_str());
  const std::unique_ptr<curl_slist, CurlDeleter> headers(list);
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_USERAGENT, "graft");
  curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl.get(), CURLOPT_ERRORBUFFER, message);
  curl_easy_setopt(curl.get(), CURLOPT_CONNECTTIMEOUT, 10L);
  // a connection without data for 30 s counts as broken
  curl_easy_setopt(curl.get(), CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_LOW_SPEED_TIME, 30L);
  curl_easy_setopt(curl.get(), CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(curl.get(), CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(curl.get(), CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl.get(), CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(curl.get(), CURLOPT_XFERINFODATA, &transfer);
  const std::string range = std::to_string(request.range_begin) + "-";
  if (request.head) curl_easy_setopt(curl.get(), CURLOPT_NOBODY, 1L);
  if (request.range_begin > 0) curl_easy_setopt(curl.get(), CURLOPT_RANGE, range.c_str());
  const CURLcode code = curl_easy_perform(curl.get());
  curl_off_t connect_time = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_CONNECT_TIME_T, &connect_time);
  transfer.response.connected = connect_time > 0;
  if (code != CURLE_OK) transfer.response.error = message[0] ? message : curl_easy_strerror(code);
  return std::move(transfer.response);
}

// `location` resolved against `base`; "" if it is not a valid address.
std::string resolve_url(const std::string& base, const std::string& location) {
  const std::unique_ptr<CURLU, CurlDeleter> url(curl_url());
  if (!url || curl_url_set(url.get(), CURLUPART_URL, base.c_str(), 0) != CURLUE_OK ||
      curl_url_set(url.get(), CURLUPART_URL, location.c_str(), 0) != CURLUE_OK)
    return "";
  char* text = nullptr;
  if (curl_url_get(url.get(), CURLUPART_URL, &text, 0) != CURLUE_OK) return "";
  std::string out = text;
  curl_free(text);
  return out;
}

// scheme://host:port
std::string origin_of(const std::string& address) {
  const std::unique_ptr<CURLU, CurlDeleter> url(curl_url());
  if (!url || curl_url_set(url.get(), CURLUPART_URL, address.c_str(), 0) != CURLUE_OK) return "";
  std::string out;
  for (const CURLUPart part : {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT}) {
    char* text = nullptr;
    if (curl_url_get(url.get(), part, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) return "";
    out += std::string(text) + "|";
    curl_free(text);
  }
  return out;
}

}  // namespace

std::string HttpResponse::header(const std::string& name) const {
  const auto at = headers.find(name);
  return at == headers.end() ? "" : at->second;
}

HttpResponse http_request(const HttpRequest& request) {
  std::string url = request.url, token = request.token;
  for (int redirects = 0;; ++redirects) {
    HttpResponse response = perform(request, url, token);
    const std::string location = response.header("location");
    const bool redirect =
        response.status >= 301 && response.status <= 308 && response.status != 304 && !location.empty();
    if (!response.error.empty() || !redirect) return response;
    const std::string next = resolve_url(url, location);
    const bool allowed =
        next.starts_with("https:") || (next.starts_with("http:") && url.starts_with("http:"));
    if (!allowed || redirects == kMaxRedirects) {
      response.refused = true;
      response.error = allowed ? "more than 10 redirects" : "a redirect to '" + printable(location) + "'";
      return response;
    }
    const bool same_origin = origin_of(next) == origin_of(url);
    if (request.head && (!same_origin || !response.header("x-linked-etag").empty())) return response;
    if (!same_origin) token.clear();
    url = next;
  }
}

}  // namespace graft::hub
