// Multiple choice: which of an example's sequences is the right one (Zellers et al. 2018; the reference's
// run_swag).
#pragma once
#include <vector>

#include "graft/dataset.h"
#include "graft/tokenizer.h"
#include "tasks/task_table.h"

namespace graft::tasks {

// One score for each choice; the loss is the cross entropy over the choices of an example, which may be of
// any number.
class MultipleChoice : public Task {
 public:
  double loss_terms(const data::RaggedBatch& batch) const override;
  engine::Var loss(engine::Tape& tape, engine::Var logits, const data::RaggedBatch& batch, double denominator,
                   double* total = nullptr) const override;
  std::unique_ptr<Metrics> metrics() const override;  // accuracy
  PrimaryMetric primary_metric() const override { return {"accuracy", true}; }
};

// One text before all choices, and each choice behind what stands before it (run_swag).
std::vector<Encoding> encode_choices(const Example& example, const Tokenizer& tokenizer, int32_t max_length);

class ChoiceFeatures : public Features {
 public:
  // Throws Error with the row's place for a choice without tokens.
  ChoiceFeatures(const Dataset& dataset, const Tokenizer& tokenizer, int32_t max_length);

  int64_t size() const override { return static_cast<int64_t>(labels_.size()); }
  int32_t length(int64_t i) const override;
  int64_t num_choices() const { return static_cast<int64_t>(first_ids_.size()) - 1; }
  int64_t num_truncated() const { return truncated_; }
  const std::vector<int32_t>& ids() const { return ids_; }

 protected:
  void append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index, int64_t epoch) const override;

 private:
  std::vector<int32_t> ids_, types_, labels_;
  std::vector<int64_t> first_ids_{0}, first_choices_{0};  // of each choice; of each example
  int64_t truncated_ = 0;
};

const TaskEntry& multiple_choice_task();

}  // namespace graft::tasks
