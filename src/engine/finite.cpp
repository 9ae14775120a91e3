#include "engine/finite.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "base/error.h"

namespace graft::engine {
namespace {

thread_local FiniteCheck* current = nullptr;

// What an operation produced in a forward pass; null where it produced nothing of one.
template <class Args>
Result result_of(const Args& args) {
  if constexpr (requires { args.result(); }) return args.result();
  return {};
}
Result result_of(Tensor, Tensor y, const Dropout&, const Rows&, bool) { return {y}; }
Result result_of(Tensor, const int32_t*, Tensor y) { return {y}; }
template <class... Args>
Result result_of(const Args&...) {
  return {};
}

// The gradients that an operation of a backward pass produced; else its result, which is one there.
struct Gradients {
  std::vector<Result> list;
  void add(const Tensor& gradient, const float* weights = nullptr) { list.push_back({gradient, weights, 0}); }
};
template <class Args>
Gradients gradients_of(const Args& a) {
  Gradients out;
  if constexpr (requires { a.dw; }) {
    const float* weights = a.w.dtype == DType::f32 ? a.w.f32() : nullptr;
    out.add(a.dw, weights), out.add(a.dx, weights);
  } else if constexpr (requires { a.dx; }) {
    out.add(a.dx);
  }
  if constexpr (requires { a.dresidual; }) out.add(a.dresidual);
  if constexpr (requires { a.da; }) out.add(a.da);
  if constexpr (requires {
                  a.da;
                  a.db;
                })
    out.add(a.db);
  if constexpr (requires { a.dq; }) out.add(a.dq), out.add(a.dk), out.add(a.dv);
  if constexpr (requires { a.dpos_key; }) out.add(a.dpos_key), out.add(a.dpos_query);
  if constexpr (requires { a.dlogits; }) out.add(a.dlogits);
  if constexpr (requires { a.dtarget; }) out.add(a.dtarget);
  if (out.list.empty()) out.list.push_back(result_of(a));
  return out;
}
Gradients gradients_of(const Tensor& dy, const Tensor&, const Activation&) {
  Gradients out;
  out.add(dy);
  return out;
}
template <class First, class Second, class... Args>
Gradients gradients_of(const First& first, const Second& second, const Args&... args) {
  Gradients out;
  out.list.push_back(result_of(first, second, args...));
  return out;
}

template <auto member, class F>
struct Checked;
template <auto member, class R, class... Args>
struct Checked<member, R (*)(Args...)> {
  static inline const char* name = "";
  static R call(Args... args) {
    if constexpr (std::is_void_v<R>) {
      (current->unchecked().*member)(args...);
      if (current->in_backward()) {
        for (const Result& gradient : gradients_of(args...).list)
          if (gradient.data) current->look(name, gradient);
        return;
      }
      const Result result = result_of(args...);
      if (result.data) current->look(result.name ? result.name : name, result);
    } else {
      return (current->unchecked().*member)(args...);
    }
  }
};

Kernels make_checked_table() {
  Kernels t{};
  each_operation([&]<class Op>(const Op& operation) {
    using Call = Checked<Op::member, std::remove_reference_t<decltype(t.*Op::member)>>;
    Call::name = operation.name;
    t.*Op::member = Call::call;
  });
  return t;
}

}  // namespace

FiniteCheck::FiniteCheck(const ParameterStore& store) : store_(store), outer_(current) { current = this; }
FiniteCheck::~FiniteCheck() { current = outer_; }

const Kernels& FiniteCheck::kernels() const {
  static const Kernels table = make_checked_table();
  return table;
}

std::string FiniteCheck::name_of(const float* value) const {
  for (const Parameter& p : store_.parameters()) {
    const float* begin = store_.value(p);
    if (value >= begin && value < begin + p.size) return p.name;
  }
  return "";
}

// Column c of a linear layer's result was made with row c of the weights, which names one of a group.
void FiniteCheck::look(const char* operation, const Result& result) {
  const Tensor& y = result.data;
  if (!first_.empty()) return;
  const HostRead values(store_.device(), y);
  const auto it = std::find_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
  const int64_t bad = it == values.end() ? -1 : (it - values.begin()) % y.cols;
  const std::string parameter =
      result.weights ? name_of(result.weights + (bad > 0 ? bad * result.stride : 0)) : "";
  if (bad >= 0) {
    first_in_backward_ = in_backward_;
    first_ = !parameter.empty()         ? fmt::format("{} with {}", operation, parameter)
             : !last_parameter_.empty() ? fmt::format("{} after {}", operation, last_parameter_)
                                        : operation;
  }
  if (!parameter.empty()) last_parameter_ = parameter;
}

}  // namespace graft::engine
