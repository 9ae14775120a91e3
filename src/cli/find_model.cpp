#include "cli/find_model.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>

#include "cli/console.h"
#include "hub/resolve.h"
#include "train/trained_model.h"

namespace graft::cli {
namespace {

// Progress of a download: one redrawn line on a terminal, else a line every ten seconds.
class DownloadLine {
 public:
  DownloadLine() : terminal_(::isatty(STDERR_FILENO) != 0) {}
  ~DownloadLine() {
    if (drawn_) put(stderr, "\r\x1b[K");
  }
  DownloadLine(const DownloadLine&) = delete;
  DownloadLine& operator=(const DownloadLine&) = delete;

  void show(const hub::DownloadProgress& p) {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < (terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(10000))) return;
    last_ = now;
    const std::string text = fmt::format("{:.1f} of {:.1f} MB  {}", static_cast<double>(p.done) / 1e6,
                                         static_cast<double>(p.total) / 1e6, p.file);
    put(stderr, terminal_ ? "\r\x1b[K" + text : text + "\n");
    std::fflush(stderr);
    drawn_ = terminal_;
  }

 private:
  bool terminal_, drawn_ = false;
  // Starts at construction: a short download prints nothing.
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

template <class Find>
std::filesystem::path with_progress(Find find) {
  DownloadLine line;
  hub::ResolveOptions options;
  options.progress = [&](const hub::DownloadProgress& p) { line.show(p); };
  return find(options);
}

}  // namespace

std::filesystem::path find_model(const std::string& name) {
  std::filesystem::path folder =
      with_progress([&](const hub::ResolveOptions& o) { return hub::resolve_model(name, o); });
  train::check_run_ended(folder);
  return folder;
}

std::filesystem::path pull_newest(const std::string& name) {
  return with_progress([&](const hub::ResolveOptions& o) { return hub::pull_model(name, o); });
}

}  // namespace graft::cli
