#include "train/optimizer.h"

#include <algorithm>
#include <cmath>

#include "base/denormals.h"
#include "train/adafactor.h"
#include "train/adamw_8bit.h"
#include "train/mixout.h"
#include "train/optim_choice.h"
#include "train/split_optimizer.h"

namespace graft::train {

using engine::Parameter;

namespace {

// As bitsandbytes in the reference's Trainer: min_8bit_size, and no embeddings.
bool has_8bit_state(const Parameter& p) {
  return p.size >= 4096 && p.part != engine::Part::embeddings && !p.row_sparse;
}

template <class Part>
std::unique_ptr<Optimizer> split_between(engine::ParameterStore& store, const UpdateRule& rule,
                                         bool (*takes)(const Parameter&), std::unique_ptr<Part> part) {
  std::vector<std::unique_ptr<Optimizer>> parts;
  parts.push_back(
      std::make_unique<ElementwiseOptimizer>(store, rule, [takes](const Parameter& p) { return !takes(p); }));
  parts.push_back(std::move(part));
  return std::make_unique<SplitOptimizer>(std::move(parts));
}

// Of `rows` rows that were read.
int64_t elementwise_bytes(const Parameter& p, const UpdateRule& rule, int64_t rows) {
  const int64_t states = (rule.first_state() ? 1 : 0) + (rule.second_state() ? 1 : 0);
  return 4 * states * rows * p.cols() + (p.row_sparse ? 5 * p.rows() : 0);  // last step, touched
}

}  // namespace

std::unique_ptr<Optimizer> make_optimizer(engine::ParameterStore& store, const TrainingArguments& a) {
  const OptimChoice c = choose_optim(a);
  switch (c.optim) {
    case Optim::elementwise:
      return std::make_unique<ElementwiseOptimizer>(store, c.rule);
    case Optim::adafactor:
      return std::make_unique<Adafactor>(store, a.weight_decay);
    case Optim::adamw_8bit:
      return split_between(store, c.rule, has_8bit_state,
                           std::make_unique<AdamW8bit>(store, c.rule, has_8bit_state));
    case Optim::muon:
      return split_between(store, c.rule, is_hidden_matrix,
                           std::make_unique<Muon>(store, c.muon, is_hidden_matrix));
  }
  return nullptr;
}

uint64_t state_bytes(const engine::ParameterStore& store, const TrainingArguments& a, int64_t rows_read) {
  const OptimChoice c = choose_optim(a);
  int64_t bytes = 0, scratch = 0;
  for (const Parameter& p : store.parameters()) {
    if (!p.trainable) continue;
    const int64_t rows = p.row_sparse && rows_read >= 0 ? std::min(p.rows(), rows_read) : p.rows();
    if (c.optim == Optim::adafactor) {
      bytes += Adafactor::state_bytes(p);
    } else if (c.optim == Optim::adamw_8bit && has_8bit_state(p)) {
      bytes += AdamW8bit::state_bytes(p.size);
    } else if (c.optim == Optim::muon && is_hidden_matrix(p)) {
      bytes += 4 * p.size;
      scratch = std::max(scratch, Muon::scratch_bytes(p));
    } else {
      bytes += elementwise_bytes(p, c.rule, rows);
    }
    if (p.row_sparse) bytes += 4 * p.rows();  // the slots of the gradient's rows
  }
  return static_cast<uint64_t>(bytes + scratch);
}

double grad_norm(engine::ParameterStore& store) {
  const FlushDenormals flush;
  store.settle_grads();
  const engine::Kernels& kernels = store.device().kernels();
  double sum = 0;
  for (const Parameter& p : store.parameters()) {
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
