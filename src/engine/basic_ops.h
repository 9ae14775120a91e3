// Basic operations on the tape, from which new heads and losses compose and get their gradients
// (docs/design.md, idea 3). Matrices are [R,C]; a vector is [1,C] or [R,1], a scalar [1,1]. `gather` and the
// fused operations of a transformer are in engine/ops.h.
#pragma once
#include <vector>

#include "engine/ops.h"

namespace graft::engine {

// a [R,C] with b of the same shape, or b [1,C], [R,1] or [1,1], which repeats.
Var add(Tape& tape, Var a, Var b);
Var sub(Tape& tape, Var a, Var b);
Var mul(Tape& tape, Var a, Var b);
// factor * x.
Var scale(Tape& tape, Var x, float factor);

Var exp(Tape& tape, Var x);
// Natural logarithm; -inf at 0 and NaN below, as in C.
Var log(Tape& tape, Var x);
Var activate(Tape& tape, Var x, Activation activation);

// a [M,K] b [K,N] -> [M,N].
Var matmul(Tape& tape, Var a, Var b);
// a [M,K] b [N,K]^T -> [M,N].
Var matmul_transposed(Tape& tape, Var a, Var b);

// Over the columns of each row.
Var softmax(Tape& tape, Var x);
Var log_softmax(Tape& tape, Var x);

// The dimensions of a reduction: all -> [1,1], rows -> [1,C], columns -> [R,1].
enum class Over : uint8_t { all, rows, columns };
Var reduce_sum(Tape& tape, Var x, Over over);
Var reduce_mean(Tape& tape, Var x, Over over);
// x [T,C] of a ragged batch -> [B,C], the mean over each sequence's rows; zeros for a sequence without rows.
// rows.cu_seqlens outlives the tape.
Var mean_pool(Tape& tape, Var x, const Rows& rows);

// Euclidean length of each row, [R,1]; the gradient at length 0 is 0.
Var norm(Tape& tape, Var x);
// Each row divided by max(its length, eps).
Var normalize(Tape& tape, Var x, float eps = 1e-12f);
// (x - mean) / sqrt(variance + eps) * weight + bias over the columns of each row (Ba et al. 2016).
Var layer_norm(Tape& tape, Var x, const Norm& norm);

// Parts of [R, Ci] side by side, [R, sum of Ci].
Var concat_columns(Tape& tape, const std::vector<Var>& parts);
// Columns [first, first + count).
Var slice_columns(Tape& tape, Var x, int64_t first, int64_t count);

}  // namespace graft::engine
