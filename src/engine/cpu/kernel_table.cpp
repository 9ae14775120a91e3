// The two op tables: the CPU's, and the one of a dry run.
#include "engine/cpu/cpu_kernels.h"
#include "engine/cpu/isa.h"

namespace graft::engine {
namespace {

template <class... Args>
void nothing(Args...) {}

}  // namespace

const Kernels& cpu_kernels() {
  cpu::init_isa();
  static const Kernels table = {
      .linear = cpu::linear,
      .linear_backward = cpu::linear_backward,
      .activation_backward = cpu::activation_backward,
      .residual_norm = cpu::residual_norm,
      .residual_norm_backward = cpu::residual_norm_backward,
      .embedding = cpu::embedding,
      .scatter = cpu::scatter,
      .attention = cpu::attention,
      .attention_backward = cpu::attention_backward,
      .dropout = cpu::dropout,
      .gather = cpu::gather,
      .cross_entropy = cpu::cross_entropy,
      .element_loss = cpu::element_loss,
      .to_bf16 = cpu::to_bf16,
      .packed_weights = cpu::packed_weights,
      .adamw = cpu::adamw,
      .sum_of_squares = cpu::sum_of_squares,
      .plain = cpu::plain,
  };
  return table;
}

const Kernels& plan_kernels() {
  static const Kernels table = {
      .linear = nothing,
      .linear_backward = nothing,
      .activation_backward = nothing,
      .residual_norm = nothing,
      .residual_norm_backward = nothing,
      .embedding = nothing,
      .scatter = nothing,
      .attention = nothing,
      .attention_backward = nothing,
      .dropout = nothing,
      .gather = nothing,
      .cross_entropy = nothing,
      .element_loss = nothing,
      .to_bf16 = nothing,
      .packed_weights = [](ParameterStore&, const Parameter&, int, Tensor, bool) -> const void* {
        return nullptr;
      },
      .adamw = nothing,
      .sum_of_squares = [](const float*, int64_t) { return 0.0; },
      .plain = nothing,
  };
  return table;
}

}  // namespace graft::engine
