// The CPU's side of the op table (engine/kernels.h), one declaration per kernel.
#pragma once
#include "engine/kernels.h"

namespace graft::engine::cpu {

struct PairOrder;
struct PairPlace;

// The table of these kernels. cpu_kernels() (engine/profile.cpp) returns it with or without a clock.
const Kernels& untimed_kernels();

void linear(const LinearArgs& args);
void linear_backward(const LinearBackwardArgs& args);
void activation_backward(Tensor dy, Tensor pre, Activation activation);
void gated(const GatedArgs& args);
void gated_backward(const GatedBackwardArgs& args);
void residual_norm(const ResidualNormArgs& args);
void residual_norm_backward(const ResidualNormBackwardArgs& args);
void embedding(const EmbeddingArgs& args);
void scatter(const ScatterArgs& args);
void attention(const AttentionArgs& args);
void attention_backward(const AttentionBackwardArgs& args);
void disentangled(const DisentangledArgs& args);
void disentangled_backward(const DisentangledBackwardArgs& args);
void rotary(const RotaryArgs& args);
void dropout(Tensor x, Tensor y, const Dropout& dropout, const Rows& rows, bool add);
void gather(Tensor x, const int32_t* rows, Tensor y);
void put_rows(Tensor x, const int64_t* rows, Tensor y);
void cross_entropy(const CrossEntropyArgs& args);
void kl_divergence(const KlDivergenceArgs& args);
void relations(const RelationArgs& args);
void element_loss(const ElementLossArgs& args);
void basic(const BasicArgs& args);

void to_bf16(Tensor from, Tensor to);
inline uint16_t* bf16_row(Tensor t, int64_t r) { return static_cast<uint16_t*>(t.data) + r * t.stride; }
// Zeros in the rows of a bf16 copy behind its last one, up to padded_rows; does nothing for a null tensor.
void clear_padding(Tensor copy);
// A tile of a weight's gradient to (+=) its place in memory.
void store_gradient(Tensor tile, float* to, int64_t stride, bool add);
// n numbers rounded to nearest even.
void round_to_bf16(const float* from, uint16_t* to, int64_t n);
// fp32 w (its transpose where nt) rounded into this order (gemm.h); depth a multiple of 32, cols of width,
// width of 16.
void pack_pairs(const float* w, int64_t ld, bool nt, int64_t depth, int64_t cols, const PairOrder& order,
                void* to);
// Sixteen rows of fp32 w [.., cols] as columns of one factor (nt) and as rows of another (nn), each from its
// place on; cols a multiple of nn's width.
void pack_pairs_both(const float* w, int64_t ld, int64_t cols, const PairPlace& nt, const PairPlace& nn);
// Rows [begin, end) of a bf16 matrix, multiples of 32 up to padded_rows, transposed into gemm_tn's panels.
void transpose_into_panels(Tensor from, int64_t begin, int64_t end, uint16_t* panels);
const void* packed_weights(ParameterStore& store, const Parameter& first, int count, Tensor w, DType as,
                           bool transposed, bool both);

// The optimizers walk flat parameter memory with these.
void update(const UpdateArgs& args);
void adamw_8bit(const AdamW8bitArgs& args);
double sum_of_squares(const float* x, int64_t n);

}  // namespace graft::engine::cpu
