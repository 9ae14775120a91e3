// The instruction set in use: the best there is, or what GRAFT_ISA=avx2 (or baseline: SSE4.1) caps it to,
// Highway and oneDNN alike.
#pragma once
#include <string>

namespace graft::engine::cpu {

// Reads GRAFT_ISA once and applies it; called before the first kernel runs.
void init_isa();
// "avx512", "avx2" or "baseline", for the log.
std::string isa_name();

}  // namespace graft::engine::cpu
