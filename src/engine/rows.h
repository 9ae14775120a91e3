// The rows of a ragged batch: validation and subsets.
#pragma once
#include "engine/tape.h"

namespace graft::engine {

// Throws Error unless the sequences of `rows` are contiguous and cover num_rows rows. A sequence may be
// empty. One comparison per sequence.
void check_rows(const char* operation, const Rows& rows, int64_t num_rows);

// Rows of a subset: the same sequences, only the rows listed (ascending, each once). Arrays live on the
// tape's arena.
Rows select_rows(Tape& tape, const Rows& all, const int32_t* rows, int64_t n);

}  // namespace graft::engine
