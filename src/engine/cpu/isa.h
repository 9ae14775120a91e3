// The instruction set in use: the best of the CPU, capped by GRAFT_ISA for Highway and oneDNN. `baseline` is
// SSE4.2 for Highway and SSE4.1 for oneDNN, which has no level between SSE4.1 and AVX.
#pragma once
#include <string>

namespace graft::engine::cpu {

// Reads GRAFT_ISA once and applies it; called before the first kernel runs.
void init_isa();
// "avx512", "avx2" or "baseline", for the log.
std::string isa_name();

}  // namespace graft::engine::cpu
