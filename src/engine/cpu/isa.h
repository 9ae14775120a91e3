// The instruction set in use: the best there is, or what GRAFT_ISA=avx2 or baseline caps it to, Highway and
// oneDNN alike. baseline is SSE4.2 for Highway's kernels and SSE4.1 for oneDNN, which has no level between
// that and AVX.
#pragma once
#include <string>

namespace graft::engine::cpu {

// Reads GRAFT_ISA once and applies it; called before the first kernel runs.
void init_isa();
// "avx512", "avx2" or "baseline", for the log.
std::string isa_name();

}  // namespace graft::engine::cpu
