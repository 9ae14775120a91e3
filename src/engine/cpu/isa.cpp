#include "engine/cpu/isa.h"

#include <hwy/highway.h>

#include <cstdlib>
#include <mutex>

#include "base/error.h"
#include "engine/cpu/gemm.h"

namespace graft::engine::cpu {

void init_isa() {
  static std::once_flag once;
  std::call_once(once, [] {
    const char* wanted = std::getenv("GRAFT_ISA");
    if (!wanted || !*wanted) return;
    const std::string name = wanted;
    if (name == "avx2") {
      hwy::DisableTargets(HWY_AVX3 | HWY_AVX3_DL);
      cap_isa_avx2();
    } else if (name == "baseline") {
      hwy::DisableTargets(HWY_AVX3 | HWY_AVX3_DL | HWY_AVX2);
      cap_isa_baseline();
    } else if (name != "avx512") {
      fail_with("use GRAFT_ISA=baseline, GRAFT_ISA=avx2, GRAFT_ISA=avx512, or leave it unset",
                "GRAFT_ISA={} is not known", name);
    }
  });
}

std::string isa_name() {
  init_isa();
  const int64_t targets = hwy::SupportedTargets();
  if (targets & HWY_AVX3) return "avx512";
  return targets & HWY_AVX2 ? "avx2" : "baseline";
}

}  // namespace graft::engine::cpu
