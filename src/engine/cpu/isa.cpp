#include "engine/cpu/isa.h"

#include <hwy/highway.h>

#include <cstdlib>
#include <mutex>

#include "base/error.h"
#include "engine/cpu/gemm.h"

namespace graft::engine::cpu {

// A better target has a lower bit.
int64_t targets_above(const std::string& name) {
  if (name == "avx512") return HWY_AVX3 - 1;
  if (name == "avx2") return HWY_AVX2 - 1;
  if (name == "baseline") return HWY_SSE4 - 1;
  fail_with("use GRAFT_ISA=baseline, GRAFT_ISA=avx2, GRAFT_ISA=avx512, or leave it unset",
            "GRAFT_ISA={} is not known", name);
}

void init_isa() {
  static std::once_flag once;
  std::call_once(once, [] {
    const char* wanted = std::getenv("GRAFT_ISA");
    if (!wanted || !*wanted) return;
    const std::string name = wanted;
    hwy::DisableTargets(targets_above(name));
    if (name == "avx2") cap_isa_avx2();
    if (name == "baseline") cap_isa_baseline();
  });
}

std::string isa_name() {
  init_isa();
  const int64_t targets = hwy::SupportedTargets();
  if (targets & (HWY_AVX2 - 1)) return "avx512";
  return targets & HWY_AVX2 ? "avx2" : "baseline";
}

}  // namespace graft::engine::cpu
