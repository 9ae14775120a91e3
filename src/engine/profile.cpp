#include "engine/profile.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>

#include "base/threads.h"
#include "engine/cpu/cpu_kernels.h"
#include "engine/parameters.h"

namespace graft::engine {
namespace {

struct Work {
  int64_t flops = 0, bytes = 0;
};

int64_t bytes_of(Tensor t) { return t ? t.size() * static_cast<int64_t>(dtype_size(t.dtype)) : 0; }
int64_t floats(int64_t n) { return n * static_cast<int64_t>(sizeof(float)); }

Work work_of(const LinearArgs& a) {
  return {2 * a.x.rows * a.x.cols * a.w.rows, bytes_of(a.x) +
                                                  a.w.size() * static_cast<int64_t>(dtype_size(a.x.dtype)) +
                                                  bytes_of(a.y) + bytes_of(a.pre)};
}
Work work_of(const LinearBackwardArgs& a) {
  const int64_t product = 2 * a.dy.rows * a.w.size();
  Work w{0, bytes_of(a.dy) + bytes_of(a.dy_bf16) + bytes_of(a.pre)};
  if (a.dx) w.flops += product, w.bytes += bytes_of(a.dx) + a.w.size() * (a.dy_bf16 ? 2 : 4);
  if (a.dw) w.flops += product, w.bytes += bytes_of(a.dw) + bytes_of(a.x);
  return w;
}
Work work_of(const ResidualNormArgs& a) {
  return {0, bytes_of(a.x) + bytes_of(a.residual) + bytes_of(a.z) + bytes_of(a.y) + bytes_of(a.y_bf16)};
}
Work work_of(const ResidualNormBackwardArgs& a) {
  return {0, bytes_of(a.dy) + bytes_of(a.z) + bytes_of(a.dx) + bytes_of(a.dresidual)};
}
Work work_of(const EmbeddingArgs& a) {
  int64_t tables = 0;
  for (const int32_t* ids : a.ids) tables += ids ? 1 : 0;
  return {0, tables * bytes_of(a.y) + bytes_of(a.y) + bytes_of(a.y_bf16) + bytes_of(a.z)};
}
Work work_of(const ScatterArgs& a) {
  return {0, floats((a.num_unique > 0 ? a.start[a.num_unique] + 2 * a.num_unique : 0) * a.grad.cols)};
}
Work work_of(const AttentionArgs& a) {
  int64_t pairs = 0;
  for (int64_t i = 0; i < a.q_rows.num_sequences; ++i) {
    pairs += int64_t{a.q_rows.cu_seqlens[i + 1] - a.q_rows.cu_seqlens[i]} *
             (a.k_rows.cu_seqlens[i + 1] - a.k_rows.cu_seqlens[i]);
  }
  return {4 * pairs * a.num_heads * a.head_dim,
          bytes_of(a.q) + bytes_of(a.k) + bytes_of(a.v) + bytes_of(a.out) + bytes_of(a.out_bf16)};
}
Work work_of(const AttentionBackwardArgs& a) {
  const Work forward = work_of(a.forward);
  return {2 * forward.flops,
          forward.bytes + bytes_of(a.dout) + bytes_of(a.dq) + bytes_of(a.dk) + bytes_of(a.dv)};
}
Work work_of(Tensor dy, Tensor pre, Activation) { return {0, 2 * bytes_of(dy) + bytes_of(pre)}; }
Work work_of(Tensor x, Tensor y, const Dropout&, const Rows&, bool add) {
  return {0, bytes_of(x) + bytes_of(y) * (add ? 2 : 1)};
}
Work work_of(Tensor, const int32_t*, Tensor y) { return {0, 2 * bytes_of(y)}; }
Work work_of(const CrossEntropyArgs& a) { return {0, bytes_of(a.logits) + bytes_of(a.dlogits)}; }
Work work_of(const ElementLossArgs& a) {
  return {0, bytes_of(a.logits) + bytes_of(a.targets) + bytes_of(a.dlogits)};
}
Work work_of(Tensor from, Tensor to) { return {0, bytes_of(from) + bytes_of(to)}; }
Work work_of(ParameterStore& store, const Parameter& first, int count, Tensor w, bool transposed, bool both) {
  const std::lock_guard lock(store.derived_mutex());
  int64_t forms = 0;
  for (const bool form : {transposed, !transposed}) {
    if (form != transposed && !both) continue;
    const Derived& entry = store.derived(first, count, form ? 1 : 0);
    forms += !entry.data || entry.version != store.version() ? 1 : 0;
  }
  return {0, forms * (bytes_of(w) + bytes_of(w) / 2)};
}
Work work_of(const AdamWArgs& a) { return {0, floats((a.g ? 7 : 6) * a.n)}; }
Work work_of(const float*, int64_t n) { return {0, floats(n)}; }
Work work_of(const BasicArgs& a) { return {0, bytes_of(a.a) + bytes_of(a.b) + bytes_of(a.out)}; }

struct Sums {
  std::atomic<int64_t> calls{0}, nanoseconds{0}, flops{0}, bytes{0};
};

constexpr int kOperations = 18;
static_assert(sizeof(Kernels) == kOperations * sizeof(void (*)()), "make_timed_table lacks an operation");
std::array<Sums, kOperations> sums;
std::array<const char*, kOperations> names;

// A kernel of the untimed table with the clock around it.
template <int index, auto member, class F>
struct Timed;
template <int index, auto member, class R, class... Args>
struct Timed<index, member, R (*)(Args...)> {
  static R call(Args... args) {
    const Work work = work_of(args...);
    struct Clock {
      std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
      ~Clock() {
        const auto spent = std::chrono::steady_clock::now() - start;
        sums[index].nanoseconds +=
            std::chrono::duration_cast<std::chrono::nanoseconds>(spent).count() / num_threads_here();
      }
    } clock;
    ++sums[index].calls;
    sums[index].flops += work.flops;
    sums[index].bytes += work.bytes;
    return (cpu::untimed_kernels().*member)(args...);
  }
};

template <int index, auto member>
void time(Kernels& table, const char* name) {
  using F = std::remove_reference_t<decltype(table.*member)>;
  table.*member = Timed<index, member, F>::call;
  names[index] = name;
}

Kernels make_timed_table() {
  Kernels t{};
  time<0, &Kernels::linear>(t, "linear");
  time<1, &Kernels::linear_backward>(t, "linear_backward");
  time<2, &Kernels::activation_backward>(t, "activation_backward");
  time<3, &Kernels::residual_norm>(t, "residual_norm");
  time<4, &Kernels::residual_norm_backward>(t, "residual_norm_backward");
  time<5, &Kernels::embedding>(t, "embedding");
  time<6, &Kernels::scatter>(t, "scatter");
  time<7, &Kernels::attention>(t, "attention");
  time<8, &Kernels::attention_backward>(t, "attention_backward");
  time<9, &Kernels::dropout>(t, "dropout");
  time<10, &Kernels::gather>(t, "gather");
  time<11, &Kernels::cross_entropy>(t, "cross_entropy");
  time<12, &Kernels::element_loss>(t, "element_loss");
  time<13, &Kernels::to_bf16>(t, "to_bf16");
  time<14, &Kernels::packed_weights>(t, "packed_weights");
  time<15, &Kernels::adamw>(t, "adamw");
  time<16, &Kernels::sum_of_squares>(t, "sum_of_squares");
  time<17, &Kernels::basic>(t, "basic");
  return t;
}

std::atomic<bool> on{false};

}  // namespace

const Kernels& cpu_kernels() {
  if (!on.load(std::memory_order_relaxed)) return cpu::untimed_kernels();
  static const Kernels timed = make_timed_table();
  return timed;
}

void set_profiling(bool wanted) {
  for (Sums& s : sums) s.calls = s.nanoseconds = s.flops = s.bytes = 0;
  on = wanted;
}

std::vector<OperationProfile> profile() {
  std::vector<OperationProfile> out;
  for (size_t i = 0; i < sums.size(); ++i) {
    if (sums[i].calls == 0) continue;
    out.push_back({names[i], sums[i].calls, static_cast<double>(sums[i].nanoseconds) * 1e-9,
                   static_cast<double>(sums[i].flops), static_cast<double>(sums[i].bytes)});
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  return out;
}

}  // namespace graft::engine
