// graft pull: a model from the hub into the cache that Python uses too.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>

#include "cli/console.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "graft/error.h"
#include "hub/resolve.h"

namespace graft::cli {
namespace {

void show_download(const hub::DownloadProgress& p) {
  static std::chrono::steady_clock::time_point last;
  const auto now = std::chrono::steady_clock::now();
  const bool terminal = ::isatty(STDERR_FILENO) != 0;
  if (now - last < (terminal ? std::chrono::milliseconds(100) : std::chrono::milliseconds(10000))) return;
  last = now;
  fmt::print(stderr, "{}{:.1f} of {:.1f} MB  {}{}", terminal ? "\r\x1b[K" : "",
             static_cast<double>(p.done) / 1e6, static_cast<double>(p.total) / 1e6, p.file,
             terminal ? "" : "\n");
  std::fflush(stderr);
}

}  // namespace

int pull(int argc, char** argv) {
  // `graft pull ID` and `graft pull --model ID` are the same
  std::string name;
  int first = 2;
  if (argc > 2 && argv[2][0] != '-') name = argv[2], first = 3;
  Options options("pull", "download a model into the Hugging Face cache",
                  {"graft pull bert-base-uncased", "graft pull ORG/NAME@REVISION"});
  options.text("model", name, "ORG/NAME[@revision] on the hub");
  if (!options.parse(argc, argv, first)) return 0;
  if (name.empty()) throw UsageError("a model is needed: graft pull ORG/NAME[@revision]");
  hub::ResolveOptions resolve;
  resolve.progress = show_download;
  const auto folder = hub::pull_model(name, resolve);
  if (::isatty(STDERR_FILENO)) fmt::print(stderr, "\r\x1b[K");
  fmt::print("{}\n", folder.string());
  return 0;
}

}  // namespace graft::cli
