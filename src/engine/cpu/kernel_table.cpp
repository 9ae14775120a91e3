// The two op tables: the CPU's, and the one of a dry run. (engine/profile.cpp has the first with a clock.)
#include "engine/cpu/cpu_kernels.h"
#include "engine/cpu/isa.h"

namespace graft::engine {
namespace {

template <class... Args>
void nothing(Args...) {}

}  // namespace

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
      .packed_weights = [](ParameterStore&, const Parameter&, int, Tensor, bool, bool) -> const void* {
        return nullptr;
      },
      .adamw = nothing,
      .sum_of_squares = [](const float*, int64_t) { return 0.0; },
      .plain = nothing,
  };
  return table;
}

namespace cpu {

const Kernels& plain_kernels() {
  init_isa();
  static const Kernels table = {
      .linear = linear,
      .linear_backward = linear_backward,
      .activation_backward = activation_backward,
      .residual_norm = residual_norm,
      .residual_norm_backward = residual_norm_backward,
      .embedding = embedding,
      .scatter = scatter,
      .attention = attention,
      .attention_backward = attention_backward,
      .dropout = dropout,
      .gather = gather,
      .cross_entropy = cross_entropy,
      .element_loss = element_loss,
      .to_bf16 = to_bf16,
      .packed_weights = packed_weights,
      .adamw = adamw,
      .sum_of_squares = sum_of_squares,
      .plain = plain,
  };
  return table;
}

}  // namespace cpu
}  // namespace graft::engine
