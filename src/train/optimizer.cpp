#include "train/optimizer.h"

#include <cmath>

#include "base/denormals.h"
#include "train/adamw.h"

namespace graft::train {

std::unique_ptr<Optimizer> make_optimizer(engine::ParameterStore& store, const TrainingArguments& a) {
  AdamWOptions options;
  options.beta1 = a.adam_beta1;
  options.beta2 = a.adam_beta2;
  options.epsilon = a.adam_epsilon;
  options.weight_decay = a.weight_decay;
  return std::make_unique<AdamW>(store, options);
}

double grad_norm(engine::ParameterStore& store) {
  const FlushDenormals flush;
  store.settle_grads();
  const engine::Kernels& kernels = store.device().kernels();
  double sum = 0;
  for (const engine::Parameter& p : store.parameters()) {
    if (!p.trainable) continue;
    if (p.row_sparse) {
      const engine::SparseGrad& g = store.sparse_grad(p);
      sum += kernels.sum_of_squares(g.rows.data(), g.rows.size());
    } else {
      sum += kernels.sum_of_squares(store.grad(p), p.size);
    }
  }
  return std::sqrt(sum);
}

}  // namespace graft::train
