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

// Counts of an encoding, for the log.
struct EncodingCounts {
  int64_t truncated_examples = 0, truncated_tokens = 0, unknown_tokens = 0, tokens = 0;
};

// Encodes all texts; `labels` null = unlabelled (prediction). Throws Error with the line for a row without
// tokens, which occurs if the tokenizer adds no special tokens.
class TextFeatures : public Features {
 public:
  TextFeatures(const Dataset& dataset, const Tokenizer& tokenizer, const data::LabelMap* labels,
               int32_t max_seq_length);

  int64_t size() const override { return static_cast<int64_t>(offsets_.size()) - 1; }
  int32_t length(int64_t i) const override;
  const EncodingCounts& counts() const { return counts_; }

 protected:
  void append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index, int64_t epoch) const override;

 private:
  std::vector<int32_t> ids_, types_;
  std::vector<int64_t> offsets_{0};
  std::vector<int32_t> labels_;
  std::vector<float> float_labels_;  // [n, width_]
  size_t width_ = 0;
  EncodingCounts counts_;
};

const TaskEntry& sequence_classification_task();

}  // namespace graft::tasks
