// The op table of a dry run: nothing is computed; what the CPU's kernels would take beside the arena is
// noted.
#include <algorithm>

#include "engine/cpu/cpu_kernels.h"
#include "engine/cpu/gemm.h"
#include "engine/cpu/isa.h"
#include "engine/plan_needs.h"

namespace graft::engine {
namespace {

thread_local PlanNeeds* needs = nullptr;

template <class R, class... Args>
void do_nothing(R (*&kernel)(Args...)) {
  kernel = [](Args...) -> R { return R(); };
}

void at_least(int64_t& noted, int64_t bytes) { noted = std::max(noted, bytes); }

// Tiles of a product [T,K] x [K,N], and both factors in fp32 where the CPU has no bf16 products.
void note_product(int64_t T, int64_t K, int64_t N, bool bf16) {
  at_least(needs->tile, cpu::tile_memory(K, N));
  if (bf16 && !cpu::has_bf16_gemm()) at_least(needs->widened, (T * K + N * K) * 4);
}

void linear(const LinearArgs& a) {
  if (needs) note_product(a.x.rows, a.x.cols, a.w.rows, a.x.dtype == DType::bf16);
}

void linear_backward(const LinearBackwardArgs& a) {
  if (!needs) return;
  const int64_t T = a.dy.rows, N = a.dy.cols, K = a.w.cols;
  const bool bf16 = static_cast<bool>(a.dy_bf16);
  if (a.dx) note_product(T, N, K, bf16);
  if (a.db) at_least(needs->partial_sums, (T + 63) / 64 * N * 4);
  if (!a.dw || !bf16) return;
  if (cpu::has_bf16_gemm()) {
    at_least(needs->panels, padded_rows(T) * N * 2);
    at_least(needs->packed_x, padded_rows(T) * K * 2);
  } else {
    at_least(needs->widened, T * (N + K) * 4);
  }
}

// Keys and values of a head, packed both ways, and their gradients.
void note_attention(const AttentionArgs& a, int64_t copies) {
  if (!needs) return;
  int64_t longest = 0;
  for (int64_t s = 0; s < a.q_rows.num_sequences; ++s) longest = std::max(longest, a.num_keys(s));
  at_least(needs->head,
           copies * (longest + 64) * (a.head_dim + 15) / 16 * 16 * 4 + (a.bias ? 16 * longest : 0));
}
void attention(const AttentionArgs& a) { note_attention(a, 2); }
void attention_backward(const AttentionBackwardArgs& a) { note_attention(a.forward, 5); }

// The same, packed positions, and the products of each key with each position that its queries see.
void note_disentangled(const DisentangledArgs& d, int64_t copies, int64_t products) {
  if (!needs) return;
  const AttentionArgs& a = d.attention;
  int64_t longest = 0;
  for (int64_t s = 0; s < a.q_rows.num_sequences; ++s) longest = std::max(longest, a.num_keys(s));
  const int64_t dim = (a.head_dim + 15) / 16 * 16, seen = std::min(2 * longest, d.num_positions()) + 16;
  at_least(needs->head, ((copies * (longest + 64) + copies * (seen + 64)) * dim +
                         products * (longest + 64) * seen + 2 * longest) *
                            4);
}
void disentangled(const DisentangledArgs& a) { note_disentangled(a, 3, 1); }
void disentangled_backward(const DisentangledBackwardArgs& a) { note_disentangled(a.forward, 6, 2); }

// Products of a head's rows, of both models, and its columns packed.
void relations(const RelationArgs& a) {
  if (!needs) return;
  int64_t longest = 0;
  for (int64_t s = 0; s < a.rows.num_sequences; ++s)
    longest = std::max<int64_t>(longest, a.rows.cu_seqlens[s + 1] - a.rows.cu_seqlens[s]);
  longest += 64;
  const int64_t dim = std::max(a.student.cols, a.teacher.cols) / a.num_heads + 64;
  at_least(needs->head, (2 * longest * longest + 2 * longest * dim) * 4);
}

const void* packed_weights(ParameterStore&, const Parameter& first, int count, Tensor w, DType as,
                           bool transposed, bool both) {
  for (const bool form : {transposed, !transposed}) {
    if (!needs || (form != transposed && !both)) continue;
    if (needs->forms.emplace(&first, count, form).second)
      needs->packed_weights += w.size() * static_cast<int64_t>(dtype_size(as));
  }
  return nullptr;
}

}  // namespace

PlanNeeds::PlanNeeds() {
  cpu::init_isa();
  needs = this;
}
PlanNeeds::~PlanNeeds() { needs = nullptr; }

const Kernels& plan_kernels() {
  static const Kernels table = [] {
    Kernels t{};
    each_operation([&]<class Op>(const Op&) { do_nothing(t.*Op::member); });
    t.linear = linear;
    t.linear_backward = linear_backward;
    t.attention = attention;
    t.attention_backward = attention_backward;
    t.disentangled = disentangled;
    t.disentangled_backward = disentangled_backward;
    t.relations = relations;
    t.packed_weights = packed_weights;
    return t;
  }();
  return table;
}

}  // namespace graft::engine
