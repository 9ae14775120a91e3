#include "train/step_batches.h"

#include <algorithm>

#include "data/sampler.h"

namespace graft::train {

namespace {

std::pair<int64_t, int64_t> share_of_tokens(const tasks::Features& features,
                                            const std::vector<int64_t>& examples, int64_t max_tokens,
                                            const engine::Collective& collective) {
  const std::vector<size_t> cuts = data::token_cuts(
      examples, [&](int64_t i) { return features.length(i); }, max_tokens);
  const auto rank = static_cast<size_t>(collective.rank());
  if (rank >= cuts.size()) return {0, 0};
  return {rank == 0 ? 0 : static_cast<int64_t>(cuts[rank - 1]), static_cast<int64_t>(cuts[rank])};
}

}  // namespace

void StepBatches::fill(const tasks::Features& features, const std::vector<std::vector<int64_t>>& examples,
                       int64_t epoch, const engine::Collective& collective, int64_t max_tokens) {
  if (batches_.size() < examples.size()) batches_.resize(examples.size());
  size_ = examples.size();
  examples_ = 0;
  for (size_t b = 0; b < size_; ++b) {
    batches_[b].clear();
    const auto n = static_cast<int64_t>(examples[b].size());
    const auto [begin, end] = max_tokens > 0 && collective.size() > 1
                                  ? share_of_tokens(features, examples[b], max_tokens, collective)
                                  : engine::share_of(n, collective);
    // The place in the whole step keys an example's dropout, whichever rank takes it.
    for (int64_t i = begin; i < end; ++i)
      features.append(batches_[b], examples[b][static_cast<size_t>(i)], examples_ + i, epoch);
    examples_ += n;
  }
}

int64_t StepBatches::tokens() const {
  int64_t n = 0;
  for (const data::RaggedBatch& batch : *this) n += batch.all_rows();
  return n;
}

int64_t StepBatches::input_tokens() const {
  int64_t n = 0;
  for (const data::RaggedBatch& batch : *this) n += batch.rows();
  return n;
}

void StepBatches::set_step_labels(double labels) {
  for (size_t b = 0; b < size_; ++b) batches_[b].step_labels = labels;
}

StepTotals total_of(const tasks::Task& task, StepBatches& batches, engine::Collective& collective) {
  double sums[4] = {0, static_cast<double>(batches.tokens()), static_cast<double>(batches.input_tokens()), 0};
  for (const data::RaggedBatch& batch : batches) {
    sums[0] += task.training_terms(batch);
    sums[3] += static_cast<double>(batch.labels.size());
  }
  collective.all_reduce(sums, 4);
  batches.set_step_labels(sums[3]);
  return {std::max(sums[0], 1.0), static_cast<int64_t>(sums[1]),
          static_cast<int64_t>(sums[2])};  // without a term the loss is 0, not 0/0
}

}  // namespace graft::train
