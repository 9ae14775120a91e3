// The instruction set in use: the best of the CPU, capped by GRAFT_ISA for Highway and oneDNN. `baseline` is
// SSE4.2 for Highway and SSE4.1 for oneDNN, which has no level between SSE4.1 and AVX.
#pragma once
#include <cstdint>
#include <string>

namespace graft::engine::cpu {

// Reads GRAFT_ISA once and applies it; called before the first kernel runs.
void init_isa();
// Highway's targets that a cap turns off: all better ones, those of later releases too; for the tests. Error
// for an unknown name.
int64_t targets_above(const std::string& name);
// "avx512", "avx2" or "baseline", for the log.
std::string isa_name();

}  // namespace graft::engine::cpu
