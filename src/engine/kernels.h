// The op table: one struct of functions for all kernels of a device. engine/cpu fills it for the CPU. A dry
// run uses a table that computes nothing, so that the same model code plans the memory of a step.
#pragma once
#include <tuple>

#include "engine/kernel_args.h"

namespace graft::engine {

struct Parameter;
class ParameterStore;

struct Kernels {
  void (*linear)(const LinearArgs&);
  void (*linear_backward)(const LinearBackwardArgs&);
  void (*activation_backward)(Tensor dy, Tensor pre, Activation activation);  // dy *= act'(pre)
  void (*gated)(const GatedArgs&);
  void (*gated_backward)(const GatedBackwardArgs&);
  void (*residual_norm)(const ResidualNormArgs&);
  void (*residual_norm_backward)(const ResidualNormBackwardArgs&);
  void (*embedding)(const EmbeddingArgs&);
  void (*scatter)(const ScatterArgs&);
  void (*attention)(const AttentionArgs&);
  void (*attention_backward)(const AttentionBackwardArgs&);
  void (*disentangled)(const DisentangledArgs&);
  void (*disentangled_backward)(const DisentangledBackwardArgs&);
  void (*rotary)(const RotaryArgs&);
  void (*dropout)(Tensor x, Tensor y, const Dropout& dropout, const Rows& rows, bool add);
  void (*gather)(Tensor x, const int32_t* rows, Tensor y);
  void (*put_rows)(Tensor x, const int64_t* rows, Tensor y);  // row rows[i] of y = row i of x
  void (*cross_entropy)(const CrossEntropyArgs&);
  void (*kl_divergence)(const KlDivergenceArgs&);
  void (*relations)(const RelationArgs&);
  void (*element_loss)(const ElementLossArgs&);
  // to (bf16, memory for padded_rows) = from rounded to nearest even; padding rows become zeros.
  void (*to_bf16)(Tensor from, Tensor to);
  // Weights [N,K] of `count` parameters from `first` on, packed for products x w^T of type `as`, or dy w with
  // `transposed`. The store caches them until its values change. The result is for LinearArgs::packed.
  // `both`: the other form will be needed soon. In fp32 the products x w^T have the bits of those with w
  // itself.
  const void* (*packed_weights)(ParameterStore& store, const Parameter& first, int count, Tensor w, DType as,
                                bool transposed, bool both);
  void (*update)(const UpdateArgs&);
  void (*adamw_8bit)(const AdamW8bitArgs&);
  double (*sum_of_squares)(const float* x, int64_t n);
  void (*basic)(const BasicArgs&);
};

// A member of Kernels and its name. The tables of the dry run, of --profile and of FiniteCheck are made from
// this list.
template <auto member_>
struct Operation {
  static constexpr auto member = member_;
  const char* name;
};

inline constexpr std::tuple kOperations{
    Operation<&Kernels::linear>{"linear"},
    Operation<&Kernels::linear_backward>{"linear_backward"},
    Operation<&Kernels::activation_backward>{"activation_backward"},
    Operation<&Kernels::gated>{"gated"},
    Operation<&Kernels::gated_backward>{"gated_backward"},
    Operation<&Kernels::residual_norm>{"residual_norm"},
    Operation<&Kernels::residual_norm_backward>{"residual_norm_backward"},
    Operation<&Kernels::embedding>{"embedding"},
    Operation<&Kernels::scatter>{"scatter"},
    Operation<&Kernels::attention>{"attention"},
    Operation<&Kernels::attention_backward>{"attention_backward"},
    Operation<&Kernels::disentangled>{"disentangled"},
    Operation<&Kernels::disentangled_backward>{"disentangled_backward"},
    Operation<&Kernels::rotary>{"rotary"},
    Operation<&Kernels::dropout>{"dropout"},
    Operation<&Kernels::gather>{"gather"},
    Operation<&Kernels::put_rows>{"put_rows"},
    Operation<&Kernels::cross_entropy>{"cross_entropy"},
    Operation<&Kernels::kl_divergence>{"kl_divergence"},
    Operation<&Kernels::relations>{"relations"},
    Operation<&Kernels::element_loss>{"element_loss"},
    Operation<&Kernels::to_bf16>{"to_bf16"},
    Operation<&Kernels::packed_weights>{"packed_weights"},
    Operation<&Kernels::update>{"update"},
    Operation<&Kernels::adamw_8bit>{"adamw_8bit"},
    Operation<&Kernels::sum_of_squares>{"sum_of_squares"},
    Operation<&Kernels::basic>{"basic"},
};
static_assert(sizeof(Kernels) == std::tuple_size_v<decltype(kOperations)> * sizeof(void (*)()),
              "kOperations lacks an operation");

// f(operation) for every operation.
template <class F>
void each_operation(F f) {
  std::apply([&](const auto&... operations) { (f(operations), ...); }, kOperations);
}

const Kernels& cpu_kernels();
const Kernels& plan_kernels();

}  // namespace graft::engine
