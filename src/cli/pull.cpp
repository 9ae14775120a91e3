// graft pull: a model from the hub into the cache that Python uses too.
#include <fmt/format.h>

#include "base/folder.h"
#include "cli/find_model.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "graft/error.h"

namespace graft::cli {
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
  if (is_folder(name)) {
    throw UsageError(fmt::format("{}: is a folder on this machine; there is nothing to download", name),
                     "for a model of that name on the hub, run graft elsewhere");
  }
  fmt::print("{}\n", pull_newest(name).string());
  return 0;
}

}  // namespace graft::cli
