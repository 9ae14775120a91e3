// The CPU's side of the op table (engine/kernels.h), one declaration per kernel.
#pragma once
#include "engine/kernels.h"

namespace graft::engine::cpu {

void linear(const LinearArgs& args);
void linear_backward(const LinearBackwardArgs& args);
void activation_backward(Tensor dy, Tensor pre, Activation activation);
void residual_norm(const ResidualNormArgs& args);
void residual_norm_backward(const ResidualNormBackwardArgs& args);
void embedding(const EmbeddingArgs& args);
void scatter(const ScatterArgs& args);
void attention(const AttentionArgs& args);
void attention_backward(const AttentionBackwardArgs& args);
void dropout(Tensor x, Tensor y, const Dropout& dropout, const Rows& rows, bool add);
void gather(Tensor x, const int32_t* rows, Tensor y);
void cross_entropy(const CrossEntropyArgs& args);
void element_loss(const ElementLossArgs& args);
void plain(const PlainArgs& args);

void to_bf16(Tensor from, Tensor to);
const void* packed_weights(ParameterStore& store, const Parameter& first, int count, Tensor w,
                           bool transposed);

// out[cols] (+)= column sums of t, over fixed blocks of rows in order.
void add_column_sums(Tensor t, float* out, bool add);

// The optimizer walks flat parameter memory with these (engine/optimizer.cpp).
void adamw(const AdamWArgs& args);
double sum_of_squares(const float* x, int64_t n);

}  // namespace graft::engine::cpu
