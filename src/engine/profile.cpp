#include "engine/profile.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <type_traits>
#include <utility>

#include "base/threads.h"
#include "engine/cpu/cpu_kernels.h"
#include "engine/parameters.h"

namespace graft::engine {
namespace {

// Arguments of the operations that have no struct; the others count their work themselves.
template <class Args>
Work work_of(const Args& args) {
  return args.work();
}
Work work_of(Tensor dy, Tensor pre, Activation) { return {0, 2 * bytes_of(dy) + bytes_of(pre)}; }
Work work_of(Tensor x, Tensor y, const Dropout&, const Rows&, bool add) {
  return {0, bytes_of(x) + bytes_of(y) * (add ? 2 : 1)};
}
Work work_of(Tensor, const int32_t*, Tensor y) { return {0, 2 * bytes_of(y)}; }
Work work_of(Tensor x, const int64_t*, Tensor) { return {0, 2 * bytes_of(x)}; }
Work work_of(Tensor from, Tensor to) { return {0, bytes_of(from, to)}; }
Work work_of(ParameterStore& store, const Parameter& first, int count, Tensor w, DType as, bool transposed,
             bool both) {
  if (first.shared) return work_of(*store.lender(), *first.shared, count, w, as, transposed, both);
  const std::lock_guard lock(store.derived_mutex());
  int64_t forms = 0;
  for (const bool form : {transposed, !transposed}) {
    if (form != transposed && !both) continue;
    const Derived& entry = store.derived(first, count, form_of_weights(form, as));
    forms += !entry.data || entry.version != store.version() ? 1 : 0;
  }
  return {0, forms * (bytes_of(w) + bytes_of(w) * (as == DType::f32 ? 2 : 1) / 2)};
}
Work work_of(const float*, int64_t n) { return {0, n * static_cast<int64_t>(sizeof(float))}; }

struct Sums {
  std::atomic<int64_t> calls{0}, nanoseconds{0}, flops{0}, bytes{0};
};

// A kernel of the untimed table with the clock around it.
template <auto member, class F>
struct Timed;
template <auto member, class R, class... Args>
struct Timed<member, R (*)(Args...)> {
  static inline Sums sums;
  static R call(Args... args) {
    const Work work = work_of(args...);
    struct Clock {
      std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
      ~Clock() {
        const auto spent = std::chrono::steady_clock::now() - start;
        sums.nanoseconds +=
            std::chrono::duration_cast<std::chrono::nanoseconds>(spent).count() / num_threads_here();
      }
    } clock;
    ++sums.calls;
    sums.flops += work.flops;
    sums.bytes += work.bytes;
    return (cpu::untimed_kernels().*member)(args...);
  }
};

template <class Op>
using TimedOperation =
    Timed<Op::member, std::remove_reference_t<decltype(std::declval<Kernels>().*Op::member)>>;

Kernels make_timed_table() {
  Kernels t{};
  each_operation([&]<class Op>(const Op&) { t.*Op::member = TimedOperation<Op>::call; });
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
  each_operation([]<class Op>(const Op&) {
    Sums& s = TimedOperation<Op>::sums;
    s.calls = s.nanoseconds = s.flops = s.bytes = 0;
  });
  on = wanted;
}

std::vector<OperationProfile> profile() {
  std::vector<OperationProfile> out;
  each_operation([&]<class Op>(const Op& operation) {
    const Sums& s = TimedOperation<Op>::sums;
    if (s.calls == 0) return;
    out.push_back({operation.name, s.calls, static_cast<double>(s.nanoseconds) * 1e-9,
                   static_cast<double>(s.flops), static_cast<double>(s.bytes)});
  });
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  return out;
}

}  // namespace graft::engine
