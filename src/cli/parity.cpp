// graft parity: reference numbers against the code that `train` uses.
#include "train/parity.h"

#include <fmt/format.h>

#include <cstdio>

#include "cli/options.h"
#include "cli/verbs.h"
#include "graft/error.h"

namespace graft::cli {

int parity(int argc, char** argv) {
  std::string golden;
  bool json = false, bf16 = false;
  Options options(
      "parity", "compare with reference numbers: outputs, loss, gradients, trained weights",
      {"graft parity --golden fixtures/bert/seqcls_single", "graft parity --golden fixtures --json"});
  options.text("golden", golden, "a fixture folder, or a folder of them", true);
  options.flag("json", json, "one json object a fixture on stdout");
  options.flag("bf16", bf16, "compare in bf16, with bf16's limits");
  options.threads();
  if (!options.parse(argc, argv, 2)) return 0;
  bool all_ok = true;
  for (const auto& folder : train::find_fixtures(golden)) {
    const train::ParityReport report = train::run_parity(folder, bf16);
    all_ok = all_ok && report.ok();
    if (json) {
      fmt::print("{}\n", train::to_json(report).dump());
      continue;
    }
    fmt::print("{}  {}\n", report.ok() ? "ok  " : "FAIL", report.fixture);
    for (const train::ParityKind& k : report.kinds) {
      fmt::print("      {:16} {:4} tensors  worst error {:.2e}  = {:5.1f} % of its limit{}\n", k.kind,
                 k.tensors, k.worst_error, 100 * k.worst_of_limit,
                 k.worst_of_limit > 1 ? "  in " + k.worst_tensor : "");
    }
    for (const std::string& name : report.not_compared) fmt::print("      not compared: {}\n", name);
    for (const std::string& name : report.of_padding) fmt::print("      not comparable: {}\n", name);
  }
  return all_ok ? 0 : 1;
}

}  // namespace graft::cli
