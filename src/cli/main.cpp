#include <cstdio>
#include <fmt/format.h>
#include "graft/error.h"
#include "train/parity.h"
int main(int argc, char** argv) {
  try {
    int bad = 0;
    for (auto& f : graft::train::find_fixtures(argv[1])) {
      auto r = graft::train::run_parity(f);
      fmt::print("{} {}\n", f.string(), r.ok());
      for (auto& k : r.kinds) fmt::print("   {:18} {:4} {:.2e} {:.3f} {}\n", k.kind, k.tensors, k.worst_error, k.worst_of_limit, k.worst_tensor);
      for (auto& k : r.not_compared) fmt::print("   not compared {}\n", k);
      bad += !r.ok();
    }
    return bad;
  } catch (const graft::Error& e) { fmt::print("{}\n{}\n", e.what(), e.hint()); return 1; }
}
