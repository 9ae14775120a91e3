// The invertible part of a language adapter (MAD-X, Pfeiffer et al. 2020), as AdapterHub's library computes
// it (NICECouplingBlock; Dinh et al. 2015): it changes the embeddings' output, and its inverse what a
// masked-LM head gives to its decoder, which is tied to the embeddings.
#pragma once
#include "engine/ops.h"

namespace graft::models {

class Scope;

// x = [x1, x2], halves of the columns; of an odd number x2 is the larger one.
struct InvertibleAdapter {
  engine::Linear f_down, f_up;  // F: x2 -> x1
  engine::Linear g_down, g_up;  // G: x1 -> x2
  engine::Activation activation = engine::Activation::relu;
};

// Declares the parameters F.0, F.2, G.0 and G.2 below `scope` for `width` columns. Throws Error for a
// reduction_factor that leaves a bottleneck without a column.
InvertibleAdapter declare_invertible(const Scope& scope, int64_t width, double reduction_factor,
                                     engine::Activation activation);

// y1 = x1 + F(x2), y2 = x2 + G(y1); x [T, width].
engine::Var transform(engine::Tape& tape, const InvertibleAdapter& adapter, engine::Var x);
// x2 = y2 - G(y1), x1 = y1 - F(x2).
engine::Var invert(engine::Tape& tape, const InvertibleAdapter& adapter, engine::Var y);

}  // namespace graft::models
