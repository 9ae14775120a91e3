// Adapters of linear layers on the tape: what `linear` computes for parameters that have one.
#pragma once
#include "engine/ops.h"

namespace graft::engine {

// The low-rank products of a layer's output, [T,N]: scale * (drop(x) a^T) b^T, in fp32, as the factors are
// small. Columns of parameters without an adapter are zero. Its data lies in temporary memory (Tape::take),
// because no backward pass reads it: give it back with release_data().
Var low_rank_sum(Tape& tape, Var x, const Linear& layer);

// A layer of which a parameter is scaled by factors or has magnitudes: each parameter computes its own part.
Var rescaled_linear(Tape& tape, Var x, const Linear& layer, Activation activation);

void release_data(Tape& tape, Var temporary);

// A parameter as a value [rows, cols] of basic operations, which add its gradient to the store.
Var value_of(Tape& tape, Parameter& p, int64_t rows, int64_t cols);

// The layer's own product, with `addend` [T,N], which may be null, added before the activation.
Var plain_linear(Tape& tape, Var x, const Linear& layer, Activation activation, Var addend);

}  // namespace graft::engine
