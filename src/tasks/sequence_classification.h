// One label, several labels or a number for each text or pair.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data/labels.h"
#include "graft/dataset.h"
#include "graft/tokenizer.h"
#include "tasks/task_table.h"

namespace graft::tasks {

// --loss of a cross-encoder, under its name in sentence-transformers.
inline constexpr const char* kCrossEncoderLoss = "BinaryCrossEntropyLoss";
// The problem_type that a --loss needs, whatever the labels look like (0 and 1 are numbers); "" = that of the
// labels.
std::string problem_type_of_loss(const std::string& loss);

class SequenceClassification : public Task {
 public:
  // problem_type: one of data::problem_type. `sigmoid`: the score of a regression is the sigmoid of its
  // output, and the loss its binary cross entropy, as a cross-encoder of sentence-transformers trains
  // (BinaryCrossEntropyLoss).
  SequenceClassification(int num_labels, std::string problem_type, bool sigmoid = false);

  double loss_terms(const data::RaggedBatch& batch) const override;
  engine::Var loss(engine::Tape& tape, engine::Var logits, const data::RaggedBatch& batch, double denominator,
                   double* total = nullptr) const override;
  std::unique_ptr<Metrics> metrics() const override;
  PrimaryMetric primary_metric() const override;  // accuracy, f1_micro or pearson
  bool single_label() const { return kind_ == Kind::single; }

 protected:
  LabelOptions label_options() const override {
    return single_label() ? LabelOptions::classes : LabelOptions::none;
  }

 private:
  enum class Kind : uint8_t { single, multi, regression, probability };
  int num_labels_;
  Kind kind_;
};

const TaskEntry& sequence_classification_task();

}  // namespace graft::tasks
