// The CPU's op table.
#include "engine/cpu/cpu_kernels.h"
#include "engine/cpu/isa.h"

namespace graft::engine::cpu {

const Kernels& untimed_kernels() {
  init_isa();
  static const Kernels table = {
      .linear = linear,
      .linear_backward = linear_backward,
      .activation_backward = activation_backward,
      .gated = gated,
      .gated_backward = gated_backward,
      .residual_norm = residual_norm,
      .residual_norm_backward = residual_norm_backward,
      .embedding = embedding,
      .scatter = scatter,
      .attention = attention,
      .attention_backward = attention_backward,
      .disentangled = disentangled,
      .disentangled_backward = disentangled_backward,
      .rotary = rotary,
      .dropout = dropout,
      .gather = gather,
      .put_rows = put_rows,
      .cross_entropy = cross_entropy,
      .kl_divergence = kl_divergence,
      .relations = relations,
      .element_loss = element_loss,
      .to_bf16 = to_bf16,
      .packed_weights = packed_weights,
      .update = update,
      .adamw_8bit = adamw_8bit,
      .sum_of_squares = sum_of_squares,
      .basic = basic,
  };
  return table;
}

}  // namespace graft::engine::cpu
