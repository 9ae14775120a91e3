#include "engine/finite.h"

#include <cmath>

#include "base/error.h"

namespace graft::engine {
namespace {

thread_local FiniteCheck* current = nullptr;

// What an operation wrote, by the type of its arguments; operations that write nothing of a forward pass:
// nothing.
void look(const char* name, const LinearArgs& a) { current->look(name, a.y, a.w.f32(), a.w.cols); }
void look(const char* name, const LinearBackwardArgs& a) {
  if (a.dx) current->look(name, a.dx, nullptr, 0);  // matmul
}
void look(const char* name, const ResidualNormArgs& a) { current->look(name, a.y, a.gamma, 0); }
void look(const char* name, const EmbeddingArgs& a) { current->look(name, a.y, a.tables[0], 0); }
void look(const char* name, const AttentionArgs& a) { current->look(name, a.out, nullptr, 0); }
void look(const char* name, Tensor, Tensor y, const Dropout&, const Rows&, bool) {
  current->look(name, y, nullptr, 0);
}
void look(const char* name, Tensor, const int32_t*, Tensor y) { current->look(name, y, nullptr, 0); }
void look(const char* name, const BasicArgs& a) { current->look(name, a.out, nullptr, 0); }

template <auto member, class F>
struct Checked;
template <auto member, class... Args>
struct Checked<member, void (*)(Args...)> {
  static inline const char* name = "";
  static void call(Args... args) {
    (cpu_kernels().*member)(args...);
    if (current) look(name, args...);
  }
};

template <auto member>
void check(Kernels& table, const char* name) {
  using Call = Checked<member, std::remove_reference_t<decltype(table.*member)>>;
  Call::name = name;
  table.*member = Call::call;
}

Kernels make_checked_table() {
  Kernels t = cpu_kernels();
  check<&Kernels::linear>(t, "linear");
  check<&Kernels::linear_backward>(t, "matmul");
  check<&Kernels::residual_norm>(t, "residual_norm");
  check<&Kernels::embedding>(t, "embed");
  check<&Kernels::attention>(t, "attention");
  check<&Kernels::dropout>(t, "dropout");
  check<&Kernels::gather>(t, "gather");
  check<&Kernels::basic>(t, "a basic operation");
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
void FiniteCheck::look(const char* operation, Tensor result, const float* weights, int64_t weights_stride) {
  if (!first_.empty()) return;
  int64_t bad = -1;
  for (int64_t r = 0; bad < 0 && r < result.rows; ++r) {
    for (int64_t c = 0; bad < 0 && c < result.cols; ++c) {
      if (!std::isfinite(result.row(r)[c])) bad = c;
    }
  }
  const std::string parameter = weights ? name_of(weights + (bad > 0 ? bad * weights_stride : 0)) : "";
  if (bad >= 0) {
    first_ = !parameter.empty()         ? fmt::format("{} with {}", operation, parameter)
             : !last_parameter_.empty() ? fmt::format("{} after {}", operation, last_parameter_)
                                        : operation;
  }
  if (!parameter.empty()) last_parameter_ = parameter;
}

}  // namespace graft::engine
