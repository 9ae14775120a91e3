#include "fake_hub.h"

#include <httplib.h>

#include <chrono>
#include <thread>

#include "base/json.h"
#include "hub/sha256.h"
#include "support/shared.h"

namespace graft::hub {

struct FakeHub::Servers {
  httplib::Server hub, cdn;
  int hub_port = 0, cdn_port = 0;
  std::thread hub_thread, cdn_thread;
};

namespace {

std::string bearer(const httplib::Request& request) {
  const std::string value = request.get_header_value("Authorization");
  return value.starts_with("Bearer ") ? value.substr(7) : value;
}

bool take_one(std::atomic<int>& counter) {
  int n = counter.load();
  while (n > 0)
    if (counter.compare_exchange_weak(n, n - 1)) return true;
  return false;
}

}  // namespace

FakeHub::FakeHub() : servers_(std::make_unique<Servers>()) {
  serve_hub();
  serve_cdn();
  servers_->hub_port = servers_->hub.bind_to_any_port("127.0.0.1");
  servers_->cdn_port = servers_->cdn.bind_to_any_port("127.0.0.1");
  servers_->hub_thread = std::thread([this] { servers_->hub.listen_after_bind(); });
  servers_->cdn_thread = std::thread([this] { servers_->cdn.listen_after_bind(); });
  while (!servers_->hub.is_running() || !servers_->cdn.is_running())
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

FakeHub::~FakeHub() {
  servers_->hub.stop();
  servers_->cdn.stop();
  servers_->hub_thread.join();
  servers_->cdn_thread.join();
}

std::string FakeHub::endpoint() const { return "http://127.0.0.1:" + std::to_string(servers_->hub_port); }

std::vector<FakeHub::Request> FakeHub::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

int FakeHub::count(const std::string& method, const std::string& path_end) const {
  int n = 0;
  for (const Request& r : requests()) n += r.method == method && r.path.ends_with(path_end);
  return n;
}

void FakeHub::serve_hub() {
  // What comes before any route: the log, failures, access, renames.
  servers_->hub.set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(
          {request.method, request.path, bearer(request), request.get_header_value("Range"), false});
    }
    const auto answer = [&](int status) {
      response.status = status;
      if (!failure_code.empty()) response.set_header("X-Error-Code", failure_code);
      if (!retry_after.empty()) response.set_header("Retry-After", retry_after);
      response.set_content("{\"error\":\"no\"}", "application/json");
      return httplib::Server::HandlerResponse::Handled;
    };
    if (redirect_loop) {
      response.set_redirect(request.path, 302);
      return httplib::Server::HandlerResponse::Handled;
    }
    if (take_one(failures)) return answer(failure_status);
    if (!required_token.empty() && bearer(request) != required_token) return answer(401);
    for (const auto& [former, now] : renamed) {
      for (const std::string& root : {std::string("/"), std::string("/api/models/")}) {
        if (!request.path.starts_with(root + former + "/")) continue;
        std::string path = request.path;
        response.set_redirect(path.replace(root.size(), former.size(), now), 307);
        response.set_header("ETag", "\"of-the-redirect\"");
        return httplib::Server::HandlerResponse::Handled;
      }
    }
    return httplib::Server::HandlerResponse::Unhandled;
  });
  servers_->hub.Get(R"(/api/models/(.+)/revision/(.+))", [this](const httplib::Request& request,
                                                                httplib::Response& response) {
    const std::string revision = request.matches[2];
    if (request.matches[1] != name || (revision != "main" && revision != "refs/pr/1" && revision != commit)) {
      response.status = 404;
      response.set_header("X-Error-Code", request.matches[1] == name ? "RevisionNotFound" : "RepoNotFound");
      return;
    }
    Json json{{"id", name}, {"sha", commit}, {"siblings", Json::array()}};
    for (const auto& [file, content] : files) json["siblings"].push_back({{"rfilename", file}});
    response.set_content(api_answer.empty() ? json.dump() : api_answer, "application/json");
  });
  servers_->hub.Get(R"(/([^/]+/[^/]+)/resolve/([^/]+)/(.+))", [this](const httplib::Request& request,
                                                                     httplib::Response& response) {
    const auto file = files.find(request.matches[3]);
    response.set_header("X-Repo-Commit", commit);
    if (file == files.end()) {
      response.status = 404;
      response.set_header("X-Error-Code", "EntryNotFound");
      return;
    }
    const std::string sha = sha256_of(file->second.content);
    const std::string etag =
        etag_override.empty() ? (file->second.lfs ? sha : sha.substr(0, 40)) : etag_override;
    if (file->second.lfs) {
      response.set_header("X-Linked-Etag", "\"" + etag + "\"");
      response.set_header("X-Linked-Size", std::to_string(file->second.content.size()));
      response.set_redirect(
          location_override.empty()
              ? "http://127.0.0.1:" + std::to_string(servers_->cdn_port) + "/cdn/" + file->first
              : location_override,
          302);
    } else {
      response.set_header("ETag", "W/\"" + etag + "\"");
      response.set_content(file->second.content, "text/plain");
    }
  });
}

void FakeHub::serve_cdn() {
  servers_->cdn.Get(R"(/cdn/(.+))", [this](const httplib::Request& request, httplib::Response& response) {
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(
          {request.method, request.path, bearer(request), request.get_header_value("Range"), true});
    }
    if (delay_ms > 0) std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms.load()));
    auto content = std::make_shared<std::string>(files.at(request.matches[1]).content);
    const bool cut = take_one(cuts);
    if (take_one(corrupted)) content->back() ^= 1;
    if (ignore_ranges) const_cast<httplib::Request&>(request).ranges.clear();
    size_t left = cut ? cut_after : SIZE_MAX;
    response.set_content_provider(
        content->size(), "application/octet-stream",
        [this, content, left](size_t offset, size_t length, httplib::DataSink& sink) mutable {
          const size_t n = std::min({length, left, size_t{1} << 14});
          if (n == 0) return false;
          left -= n;
          cdn_bytes_ += n;
          return sink.write(content->data() + offset, n);
        });
  });
}

}  // namespace graft::hub
