#include "tasks/multiple_choice.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "engine/basic_ops.h"
#include "models/registry.h"

namespace graft::tasks {

using engine::Var;

namespace {

// The share of the examples whose choice with the highest score is the right one.
class ChoiceMetrics : public Metrics {
 public:
  void add(const data::RaggedBatch& batch, engine::Tensor logits) override {
    for (size_t e = 0; e < batch.examples.size(); ++e) {
      if (batch.labels[e] < 0) continue;
      const int32_t begin = batch.cu_examples[e], end = batch.cu_examples[e + 1];
      int32_t best = begin;
      for (int32_t s = begin + 1; s < end; ++s)
        if (logits.row(s)[0] > logits.row(best)[0]) best = s;
      right_ += best - begin == batch.labels[e];
      ++total_;
    }
  }
  Partial partial() const override { return {right_, total_}; }
  void merge(const Partial& part) override { right_ += part.at(0), total_ += part.at(1); }
  MetricValues values() const override {
    return {{"accuracy", total_ > 0 ? right_ / total_ : std::numeric_limits<double>::quiet_NaN()}};
  }

 private:
  double right_ = 0, total_ = 0;
};

}  // namespace

double MultipleChoice::loss_terms(const data::RaggedBatch& batch) const {
  return static_cast<double>(
      std::count_if(batch.labels.begin(), batch.labels.end(), [](int32_t l) { return l >= 0; }));
}

Var MultipleChoice::loss(engine::Tape& tape, Var logits, const data::RaggedBatch& batch, double denominator,
                         double* total) const {
  return engine::segment_cross_entropy(tape, logits, batch.cu_examples.data(), batch.labels.data(),
                                       batch.num_examples(), denominator, total);
}

std::unique_ptr<Metrics> MultipleChoice::metrics() const { return std::make_unique<ChoiceMetrics>(); }

namespace {

std::unique_ptr<Task> make_multiple_choice(const Model& /*model*/, LabelKind /*labels*/) {
  return std::make_unique<MultipleChoice>();
}

PreparedTask prepare_multiple_choice(Model& /*model*/, const TaskData& /*data*/,
                                     const FeatureSettings& /*settings*/) {
  fail("training on choices is not implemented yet");
}

void add_sample_choices(data::RaggedBatch& batch, const Model& /*model*/) {
  batch.labels.assign(static_cast<size_t>(batch.num_examples()), 0);
}

}  // namespace

const TaskEntry& multiple_choice_task() {
  static const TaskEntry entry = {&models::kMultipleChoice,
                                  Input::labelled_rows,
                                  Answer::labels,
                                  0,  // run_swag: the model's limit
                                  {},
                                  nullptr,
                                  make_multiple_choice,
                                  prepare_multiple_choice,
                                  add_sample_choices};
  return entry;
}

}  // namespace graft::tasks
