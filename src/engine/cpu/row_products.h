// Matrix products for the few rows of a decoder's step, as fast as the weights are read.
#pragma once
#include "engine/cpu/gemm.h"

namespace graft::engine::cpu {

// y[T,N] = x[T,K] w[N,K]^T with the types and the packed forms of gemm. The bits of a row depend neither on
// the other rows nor on their number; they are not those of gemm. Returns false, with nothing done, if w is
// packed in an order that only the library reads.
bool row_products(Tensor x, Tensor w, Tensor y, const PackedMatrix* packed, Epilogue epilogue = {});

}  // namespace graft::engine::cpu
