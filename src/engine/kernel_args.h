// The arguments of the kernels. work() counts operations and bytes for --profile; result() names what a
// forward pass produced, for the search for NaN and infinity (engine/finite.h).
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/philox.h"
#include "engine/tensor.h"

namespace graft::engine {

struct Parameter;
class ParameterStore;

// Operations (2 per multiply-add of real rows) and bytes: every operand once, read or written.
struct Work {
  int64_t flops = 0, bytes = 0;
};

// The sum of the sizes of tensors; a null tensor counts nothing.
template <class... Tensors>
int64_t bytes_of(const Tensors&... tensors) {
  return (int64_t{0} + ... +
          (tensors ? tensors.size() * static_cast<int64_t>(dtype_size(tensors.dtype)) : 0));
}

// A tensor that an operation produced, with the weights that column c was computed with: those `stride` * c
// behind `weights` (null = none).
struct Result {
  Tensor data;
  const float* weights = nullptr;
  int64_t stride = 0;
  const char* name = nullptr;  // of the operation, where it is not the kernel's
};

// The reference's activations without parameters, under its names (transformers/activations.py): gelu is the
// erf form, gelu_new the tanh form.
enum class Activation : uint8_t {
  none,
  gelu,
  gelu_new,
  relu,
  silu,
  tanh,
  sigmoid,
  gelu_10,
  quick_gelu,
  mish,
  relu6,
  relu2,
  leaky_relu,
  hardswish,
  laplace,
  sqrtsoftplus
};

// Constants of the reference: mu and sigma of laplace, the slope of leaky_relu below 0, the factor of
// quick_gelu.
inline constexpr double kLaplaceMu = 0.707107, kLaplaceSigma = 0.282095;
inline constexpr double kLeakyReluSlope = 0.01, kQuickGelu = 1.702;

// The example and position of each row of a packed batch (docs/design.md, ideas 1 and 6).
struct Rows {
  int64_t num_rows = 0;
  int64_t num_sequences = 0;
  const int32_t* cu_seqlens = nullptr;  // [num_sequences + 1]
  const int32_t* position = nullptr;    // [num_rows] position in the example
  const int64_t* example = nullptr;     // [num_sequences] key of its randomness
  const int32_t* sequence = nullptr;    // [num_rows] which sequence the row belongs to
};

// Element (example, position, channel) is dropped with probability p. The 16 random bits of channel c are
// those of Philox block (c / 128 * 16 + c % 16), half-word c % 128 / 16: SIMD lanes of any width read them in
// order.
struct Dropout {
  float p = 0;
  PhiloxKey key{};
  uint32_t threshold() const { return static_cast<uint32_t>(std::lround(p * 65536.0f)); }
  // 1 / (kept fraction); exact for the 16-bit threshold, so the expectation is unbiased.
  float scale() const { return 65536.0f / (65536.0f - static_cast<float>(threshold())); }
};

// y[T,N] = act(x[T,K] w[N,K]^T + bias[N] + addend[T,N]), where addend may be null. `pre`, if set, receives
// the value before the activation. y_bf16, here and below, is memory for a bf16 copy (padded rows) that the
// kernel fills while y is in cache; null = no copy.
struct LinearArgs {
  Tensor x, w, y, pre, y_bf16, addend;
  const float* bias = nullptr;
  Activation activation = Activation::none;
  const void* packed = nullptr;  // engine/cpu/gemm's packed form of w, or null
  bool by_row = false;           // TapeOptions::by_row

  Work work() const {
    return {2 * x.rows * x.cols * w.rows,
            bytes_of(x, y, pre, addend) + w.size() * static_cast<int64_t>(dtype_size(x.dtype))};
  }
  Result result() const { return {y, w.f32(), w.cols}; }
};

// Rows of a bf16 copy: T rounded up to a multiple of 32, so that products over T have no remainder.
inline int64_t padded_rows(int64_t T) { return (T + 31) / 32 * 32; }

// dx[T,K] (+)= dy[T,N] w[N,K];  dw[N,K] (+)= dy^T x;  db[N] (+)= column sums of dy. Null tensors are skipped.
// With an activation, dy is first multiplied by its slope at `pre`, which clobbers dy.
struct LinearBackwardArgs {
  Tensor x, w, dy, dx, dw;
  Tensor dy_bf16;  // bf16: memory for a copy of dy (padded rows), which the kernel fills; x is bf16 then
  Tensor pre;
  Activation activation = Activation::none;
  float* db = nullptr;
  bool add_dx = false, add_dw = false, add_db = false;
  const void* packed = nullptr;

  Work work() const {
    const int64_t product = 2 * dy.rows * w.size();
    Work out{0, bytes_of(dy, dy_bf16, pre)};
    if (dx) out.flops += product, out.bytes += bytes_of(dx) + w.size() * (dy_bf16 ? 2 : 4);
    if (dw) out.flops += product, out.bytes += bytes_of(dw, x);
    return out;
  }
  Result result() const { return {dx, nullptr, 0, "matmul"}; }  // its forward pass
};

// (x - mean) / sqrt(variance + eps) * gamma + beta (Ba et al. 2016), or x / sqrt(mean of x^2 + eps) * gamma
// (Zhang & Sennrich 2019). Statistics in fp32.
enum class NormKind : uint8_t { layer_norm, rms_norm };

// y = norm(z), z = residual + dropout(x). z is kept for the backward pass and may be computed in place of x.
struct ResidualNormArgs {
  Tensor x, residual, z, y, y_bf16;               // [T,H]; residual may be null (then z = x); y null: no norm
  const float *gamma = nullptr, *beta = nullptr;  // beta may be null
  NormKind kind = NormKind::layer_norm;
  float *mean = nullptr, *rstd = nullptr;  // [T]
  float eps = 1e-12f;
  Dropout dropout;
  Rows rows;

  Work work() const { return {0, bytes_of(x, residual, z, y, y_bf16)}; }
  Result result() const { return {y ? y : z, gamma}; }
};
// The gradient of z is that through the norm plus `dz`; dy or dz may be null, and so may dx and dresidual.
struct ResidualNormBackwardArgs {
  Tensor dy, dz, z, dx, dresidual;
  NormKind kind = NormKind::layer_norm;
  const float *gamma = nullptr, *mean = nullptr, *rstd = nullptr;
  float *dgamma = nullptr, *dbeta = nullptr;  // null = not computed (frozen)
  float* scratch = nullptr;                   // norm_scratch_size(T, H) floats
  bool add_dgamma = false, add_dbeta = false, add_dresidual = false, add_dx = false;
  Dropout dropout;
  Rows rows;

  Work work() const { return {0, bytes_of(dy, dz, z, dx, dresidual)}; }
};

// y[T,H] = dropout(norm(sum of table rows)). Tables without ids are skipped; without gamma there is no norm.
struct EmbeddingArgs {
  // A row of the sum has the rows of the tables that its ids name; a negative id names none.
  const float* tables[4] = {nullptr, nullptr, nullptr, nullptr};
  const int32_t* ids[4] = {nullptr, nullptr, nullptr, nullptr};  // [T]
  Tensor z, y, y_bf16;                                           // z keeps the sum
  const float *gamma = nullptr, *beta = nullptr;                 // beta may be null
  NormKind kind = NormKind::layer_norm;
  float *mean = nullptr, *rstd = nullptr;
  float eps = 1e-12f;
  Dropout dropout;
  // Noise on the rows of tables[0] (Jain et al. 2024, NEFTune): of a sequence of L tokens uniform in
  // +-noise_alpha / sqrt(L H).
  float noise_alpha = 0;
  PhiloxKey noise_key{};
  Rows rows;

  Work work() const {
    int64_t read = 0;
    for (const int32_t* i : ids) read += i ? bytes_of(y) : 0;
    return {0, read + bytes_of(y, y_bf16, z)};
  }
  Result result() const { return {y, tables[0]}; }
};

// y = act(a) * b, all [T,N] (Shazeer 2020, GLU Variants Improve Transformer).
struct GatedArgs {
  Tensor a, b, y, y_bf16;
  Activation activation = Activation::none;

  Work work() const { return {0, bytes_of(a, b, y, y_bf16)}; }
  Result result() const { return {y}; }
};
// da (+)= dy b act'(a);  db (+)= dy act(a). Null tensors are skipped.
struct GatedBackwardArgs {
  Tensor a, b, dy, da, db;
  bool add_da = false, add_db = false;
  Activation activation = Activation::none;

  Work work() const { return {0, bytes_of(a, b, dy, da, db)}; }
};

// Row ids[u] of out += sum over i in [start[u], start[u+1]) of grad row order[i], in that order.
struct ScatterArgs {
  Tensor grad;           // [T,H]
  float* out = nullptr;  // [.,H]
  const int32_t *ids = nullptr, *start = nullptr, *order = nullptr;
  int64_t num_unique = 0;

  Work work() const {
    const int64_t rows = num_unique > 0 ? start[num_unique] + 2 * num_unique : 0;
    return {0, rows * grad.cols * static_cast<int64_t>(sizeof(float))};
  }
};

// Ragged attention, one softmax per (query row, head); never a T x T matrix (Dao et al. 2022,
// FlashAttention).
struct AttentionArgs {
  Tensor q, k, v, out;  // [Tq, heads*dim], [Tk, heads*dim] twice, [Tq, heads*dim]
  Tensor out_bf16;
  float* lse = nullptr;  // [Tq, heads] log of the softmax denominator
  int64_t num_heads = 1, head_dim = 1;
  float scale = 1;
  bool causal = false;
  int32_t window = -1;  // keys with |i - j| > window are masked; -1 = no limit
  // Added to the scaled score of a query at position i and key j: bias[bucket[j - i + bucket_zero], head] of
  // [buckets, heads] (Raffel et al. 2020, T5). Null = none. `bucket` covers all j - i of the batch.
  const float* bias = nullptr;
  const int32_t* bucket = nullptr;
  int64_t num_buckets = 0, bucket_zero = 0;
  Dropout dropout;
  Rows q_rows, k_rows;  // the same sequences; q_rows may be a subset of the positions, or of another text
  // Keys and values that lie in a cache: those of sequence s are rows [k_begin[s], k_begin[s] + k_length[s])
  // of k and v, key j at position j. k_rows is then not read. Forward only.
  const int64_t* k_begin = nullptr;
  const int32_t* k_length = nullptr;  // [num_sequences]

  int64_t first_key(int64_t sequence) const {
    return k_begin ? k_begin[sequence] : k_rows.cu_seqlens[sequence];
  }
  int64_t num_keys(int64_t sequence) const {
    return k_begin ? k_length[sequence] : k_rows.cu_seqlens[sequence + 1] - k_rows.cu_seqlens[sequence];
  }

  Work work() const {
    int64_t pairs = 0;
    for (int64_t i = 0; i < q_rows.num_sequences; ++i)
      pairs += int64_t{q_rows.cu_seqlens[i + 1] - q_rows.cu_seqlens[i]} * num_keys(i);
    return {4 * pairs * num_heads * head_dim, bytes_of(q, k, v, out, out_bf16)};
  }
  Result result() const { return {out}; }
};
struct AttentionBackwardArgs {
  AttentionArgs forward;
  Tensor dout, dq, dk, dv;  // dq, dk, dv are overwritten; null tensors are skipped
  float* dbias = nullptr;   // [buckets, heads], null = not computed
  bool add_dbias = false;
  float* bias_terms = nullptr;  // scratch for dbias: [sequences, heads, buckets]

  Work work() const {  // twice the products of the forward pass
    const Work once = forward.work();
    return {2 * once.flops, once.bytes + bytes_of(dout, dq, dk, dv)};
  }
};

// Attention with disentangled positions (He et al. 2021, DeBERTa): the score of the query at position i and
// key j is scale * (q_i k_j + q_i pos_key[r] + k_j pos_query[r]), r = pos_row[j - i + pos_zero], which does
// not fall as j - i grows. All keys are visible; no bias, no cache.
struct DisentangledArgs {
  AttentionArgs attention;
  Tensor pos_key, pos_query;  // [positions, heads*dim]; null = without this term
  const int32_t* pos_row = nullptr;
  int64_t pos_zero = 0;

  int64_t num_positions() const { return std::max(pos_key.rows, pos_query.rows); }
  Work work() const {  // the products with positions are those of a query, or key, with each position
    const AttentionArgs& a = attention;
    Work w = a.work();
    const int64_t columns = num_positions() * a.num_heads * a.head_dim;
    w.flops += 2 * columns * ((pos_key ? a.q.rows : 0) + (pos_query ? a.k.rows : 0));
    w.bytes += bytes_of(pos_key, pos_query);
    return w;
  }
  Result result() const { return {attention.out}; }
};
struct DisentangledBackwardArgs {
  DisentangledArgs forward;
  Tensor dout, dq, dk, dv, dpos_key, dpos_query;  // gradients are overwritten; null tensors are skipped
  float* terms = nullptr;                         // scratch: terms_size()

  // Sequences are summed in at most 8 groups, which depend on their number alone.
  int64_t num_groups() const { return std::min<int64_t>(8, forward.attention.q_rows.num_sequences); }
  int64_t terms_stride() const { return (forward.attention.head_dim + 15) / 16 * 16; }
  int64_t terms_size() const {
    return num_groups() * forward.attention.num_heads * 2 * forward.num_positions() * terms_stride();
  }
  Work work() const {
    const Work once = forward.work();
    return {2 * once.flops, once.bytes + bytes_of(dout, dq, dk, dv)};
  }
};

// Rotates pairs (c, c + head_dim / 2) of each head of x [T, heads * head_dim] in place by the angles of its
// row's position (Su et al. 2021; the half layout of GPT-NeoX): [x1, x2] -> [x1 cos - x2 sin, x2 cos + x1
// sin].
struct RotaryArgs {
  Tensor x;
  int64_t num_heads = 1, head_dim = 1;
  const float* table = nullptr;       // [positions, head_dim]: cosines, then sines of each half
  const int32_t* position = nullptr;  // [T]
  bool backward = false;              // rotates back

  Work work() const { return {0, 2 * bytes_of(x)}; }
  Result result() const { return {x}; }
};

// Sum over rows of -log softmax(logits)[label]; rows with label < 0 are skipped. With label smoothing, a
// row's term is (1 - smoothing) of that and `smoothing` of the mean over all classes (Szegedy et al. 2016;
// the reference's LabelSmoother). `loss` receives sum / denominator. Each term is added to `total`, if set,
// in order. A sum carried over batches therefore does not depend on the batch size.
struct CrossEntropyArgs {
  // Backward when dlogits is set: (softmax - target) * grad / denominator. It may be the memory of `logits`.
  Tensor logits, dlogits;
  bool add = false;  // dlogits += instead of =
  const int32_t* labels = nullptr;
  float label_smoothing = 0;
  // Factors of the terms: that of the label's class [cols], null = 1; and of the focal loss (Lin et al.
  // 2017), (1 - p)^gamma for a label of probability p.
  const float* class_weights = nullptr;
  float focal_gamma = 0;
  float* loss = nullptr;
  double* total = nullptr;
  double denominator = 1;
  const float* grad = nullptr;  // gradient of the loss (one number)
  double* scratch = nullptr;    // [rows] receives the terms
  uint8_t* right = nullptr;     // [rows], may be null: 1 where no class has a larger logit than the label

  Work work() const { return {0, bytes_of(logits, dlogits)}; }
};

// Sum over rows of KL(p || q), p = softmax(target / temperature), q = softmax(logits / temperature).
struct KlDivergenceArgs {
  Tensor logits, target;    // [R,V]
  Tensor dlogits, dtarget;  // backward when one is set
  bool add_dlogits = false, add_dtarget = false;
  float temperature = 1;
  float* loss = nullptr;
  double* total = nullptr;
  double denominator = 1;
  const float* grad = nullptr;  // gradient of the loss (one number)
  double* scratch = nullptr;    // [rows]

  Work work() const { return {0, bytes_of(logits, target, dlogits, dtarget)}; }
};
// Sum over the heads of all sequences of the mean over a head's rows of KL(p || q): q and p are the rows'
// softmax of x x^T / sqrt(dim), x the head's columns of the student and of the teacher (Wang et al. 2021,
// MiniLMv2).
struct RelationArgs {
  Tensor student, teacher;  // [T, heads * dim], each with a dim of its own
  int64_t num_heads = 1;
  Rows rows;  // both
  // [T, heads * dim] of the sum over the student, computed with it; null = not needed.
  Tensor gradient{};
  float* loss = nullptr;
  double* total = nullptr;
  double denominator = 1;
  double* scratch = nullptr;  // [sequences * heads]

  Work work() const { return {0, bytes_of(student, teacher, gradient)}; }
};
// Binary cross entropy with logits, or squared error: over all elements.
struct ElementLossArgs {
  Tensor logits, targets, dlogits;
  float* loss = nullptr;
  double* total = nullptr;
  double denominator = 1;
  const float* grad = nullptr;
  bool squared = false;
  bool add = false;  // dlogits += instead of =

  Work work() const { return {0, bytes_of(logits, targets, dlogits)}; }
};

// The optimizers that move each weight by its own gradient and state. Of adamw and lion the decay is
// decoupled; the others add it to the gradient, as torch.optim.
enum class UpdateKind : uint8_t { adamw, sgd, lion, rmsprop, adagrad };

// g may be null (all zero). m: the first moment, or the momentum, which may be null; v: the second moment.
struct UpdateArgs {
  UpdateKind kind = UpdateKind::adamw;
  float *w = nullptr, *m = nullptr, *v = nullptr;
  const float* g = nullptr;
  int64_t n = 0;
  // In double, as the reference has them: 1 - 0.999f is wrong by 1e-5 of itself.
  double lr = 0, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  double correction1 = 1, correction2 = 1;  // 1 - beta^step; sqrt is taken of the second
  double momentum = 0, dampening = 0;       // sgd; momentum of rmsprop too, whose decay of v is beta2
  bool nesterov = false;
  float grad_scale = 1;  // clipping coefficient
  // The parameter that w is the whole of, where the update follows touch_values(): its packed forms that were
  // current before stay so.
  ParameterStore* store = nullptr;
  const Parameter* parameter = nullptr;

  Work work() const {
    const int64_t floats = (g ? 1 : 0) + 2 * (1 + (m ? 1 : 0) + (v ? 1 : 0));
    return {0, floats * n * static_cast<int64_t>(sizeof(float))};
  }
};

// AdamW with moments in 8 bits: codes of the dynamic map, and for each block of k8bitBlock numbers the
// largest magnitude, which the map's 1 stands for.
inline constexpr int64_t k8bitBlock = 256;
struct AdamW8bitArgs {
  float* w = nullptr;
  uint8_t *m = nullptr, *v = nullptr;
  float *m_scale = nullptr, *v_scale = nullptr;  // [blocks]
  const float* g = nullptr;
  int64_t n = 0;
  double lr = 0, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  double correction1 = 1, correction2 = 1;  // as in UpdateArgs
  float grad_scale = 1;

  Work work() const { return {0, (3 * 4 + 4) * n}; }
};

// Basic operations, from which new heads and losses compose. out is [R,C]; an operand of [1,C], [R,1] or
// [1,1] repeats.
enum class BasicOp : uint8_t {
  fill,        // out = alpha
  copy,        // out = alpha a
  sum,         // out = a + alpha b
  product,     // out = alpha a b
  quotient,    // out = alpha a / b
  exp,         // out = exp(a)
  log,         // out = log(a)
  activation,  // out = act(a)
  reduce,      // out [R,C], [1,C], [R,1] or [1,1] = alpha * sum of a (of a b if b is set) over what out lacks
  softmax,     // over the columns of each row of a
  softmax_gradient,        // a = dy, b = y
  log_softmax,             // over the columns of each row of a
  log_softmax_gradient,    // a = dy, b = y
  norm,                    // out [R,1] = l2 norm of each row of a
  norm_gradient,           // a = dy [R,1], b = x
  normalize,               // out = a / max(norm of the row, alpha)
  normalize_gradient,      // a = dy, b = x, alpha as in normalize
  sequence_mean,           // out [B,C] = mean of the rows of each sequence of a [T,C]; 0 for an empty one
  sequence_mean_gradient,  // a = dy [B,C], out [T,C]
};
struct BasicArgs {
  BasicOp op = BasicOp::fill;
  Tensor a{}, b{}, out{};
  float alpha = 1;
  bool add = false;  // out += instead of out =
  Activation activation = Activation::none;
  const int32_t* cu_seqlens = nullptr;  // [num_sequences + 1]
  int64_t num_sequences = 0;

  Work work() const { return {0, bytes_of(a, b, out)}; }
  Result result() const { return {out, nullptr, 0, "a basic operation"}; }
};

// Floats of scratch that residual_norm_backward needs for T rows of H.
int64_t norm_scratch_size(int64_t T, int64_t H);

}  // namespace graft::engine
