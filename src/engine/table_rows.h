// Gradients of rows that were looked up in a table: each row of the table gets the sum over its readers, in a
// fixed order.
#pragma once
#include <cstdint>

#include "engine/parameters.h"
#include "engine/tape.h"

namespace graft::engine {

// Adds row r of `from` [n, W] to row ids[r] of `to` [rows, W]; a negative id names none.
void add_rows(Tape& tape, Tensor from, const int32_t* ids, float* to);

// The same into the gradient of a table, which may be row-sparse; its padding row gets none. Nothing for null
// and for a frozen table. A dense one may be read as rows of another width than its own.
void table_gradient(Tape& tape, Parameter* table, const int32_t* ids, Tensor dz);

}  // namespace graft::engine
