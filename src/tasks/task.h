// The parts of a task: features from rows of data, a loss, metrics.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/batch.h"
#include "engine/ops.h"
#include "models/network.h"
#include "tasks/metrics.h"

namespace graft::models {
struct State;
}

namespace graft::tasks {

// The examples of a task as ids and labels.
class Features {
 public:
  virtual ~Features() = default;
  virtual int64_t size() const = 0;
  virtual int32_t length(int64_t i) const = 0;  // tokens of all its sequences
  // Appends example i with its labels to the batch. `index` keys its dropout, `epoch` its masks (-1 =
  // evaluation).
  void append(data::RaggedBatch& batch, int64_t i, int64_t index, int64_t epoch) const {
    batch.begin_example(i);
    append_sequences(batch, i, index, epoch);
  }

 protected:
  // The sequences of example i, one or several, by RaggedBatch::append_sequence. The key of an only one is
  // `index`; several have the keys data::sequence_key(index, 0), ...
  virtual void append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index, int64_t epoch) const = 0;
  // Those of an example of `other`, for features that are made of others.
  static void append_sequences_of(const Features& other, data::RaggedBatch& batch, int64_t i, int64_t index,
                                  int64_t epoch) {
    other.append_sequences(batch, i, index, epoch);
  }
};

// Streaming metrics; exact for any batch size and for parts of the data in several processes.
class Metrics {
 public:
  virtual ~Metrics() = default;
  // The examples of the batch are whole: all sequences of each.
  virtual void add(const data::RaggedBatch& batch, engine::Tensor logits) = 0;
  // The same of a task that reads no logits.
  virtual void add_counts(int64_t /*right*/, int64_t /*terms*/) {}
  // What was added so far, as numbers, and the same of another part of the data.
  virtual Partial partial() const = 0;
  virtual void merge(const Partial& part) = 0;
  virtual MetricValues values() const = 0;
  // The names that values() may have, known before an evaluation. `example`: the first one of the data.
  virtual std::vector<std::string> names(const data::RaggedBatch& example) const;
  // Of classification; none elsewhere.
  virtual std::optional<Collapse> collapse() const { return std::nullopt; }
  virtual std::optional<Permutation> permutation() const { return std::nullopt; }
};

// How training changes the loss of labels. The loss of an evaluation is the cross entropy itself.
struct LossOptions {
  double label_smoothing = 0;          // share of each label that is spread over all classes
  double focal_gamma = 0;              // of the focal loss
  std::vector<float> class_weights{};  // [classes]; empty = 1 each
  // Weight of the divergence between two passes with their own dropout (Liang et al. 2021, R-Drop).
  double r_drop_alpha = 0;
};

// Forward pass and loss of a batch.
struct LossPass {
  engine::Var loss = nullptr;
  engine::Var logits = nullptr;  // null: never stored
  int64_t right = 0;             // right predictions, where no logits are stored
};

class Task {
 public:
  virtual ~Task() = default;
  // Throws UsageError for an option that the task has not.
  void set_loss_options(LossOptions options);
  const LossOptions& loss_options() const { return loss_options_; }
  // Terms that the loss of this batch sums over. The loss of a step is sum / total terms of all its
  // micro-batches, so it does not depend on their number.
  virtual double loss_terms(const data::RaggedBatch& batch) const = 0;
  // The same with the weights of training.
  double training_terms(const data::RaggedBatch& batch) const;
  // Scalar: sum of this batch's terms / denominator. Each term is added to `total`, if set, in order.
  virtual engine::Var loss(engine::Tape& tape, engine::Var logits, const data::RaggedBatch& batch,
                           double denominator, double* total = nullptr) const = 0;
  // The same from the input of the head's last layer, for a task whose logits are too many to store. Null:
  // the task reads logits. `right`, if set, counts the right predictions.
  virtual engine::Var loss_of_hidden(engine::Tape& /*tape*/, engine::Var /*hidden*/,
                                     const engine::Linear& /*layer*/, const data::RaggedBatch& /*batch*/,
                                     double /*denominator*/, double* /*total*/, int64_t* /*right*/) const {
    return nullptr;
  }
  // The pass of a training step where it is more than the logits of `network` and their loss. Without a loss:
  // it is not.
  virtual LossPass training_pass(engine::Tape& /*tape*/, const models::Network& /*network*/,
                                 const data::RaggedBatch& /*batch*/, double /*denominator*/) const {
    return {};
  }
  // Whether the loss of an example depends on the others of its batch: cut into smaller batches it is another
  // loss.
  virtual bool couples_examples() const { return false; }
  virtual bool reads_hidden() const { return false; }  // loss_of_hidden is implemented
  // Whether the loss is a cross entropy over the classes of batch.labels.
  bool has_classes() const { return label_options() == LabelOptions::classes; }
  virtual std::unique_ptr<Metrics> metrics() const = 0;
  // The same for a task whose metrics read more of the examples than a batch holds.
  virtual std::unique_ptr<Metrics> metrics_of(const Features& /*features*/) const { return metrics(); }
  // For a task that generates in evaluation: generates for examples [begin, end) of its features and adds the
  // results to its metrics. Called beside the passes of the loss, with memory of its own.
  virtual void add_generated(models::State& /*state*/, const Features& /*features*/, int64_t /*begin*/,
                             int64_t /*end*/, Metrics& /*metrics*/) const {}
  // Metrics that follow from the mean loss of an evaluation.
  virtual MetricValues metrics_of_loss(double /*loss*/) const { return {}; }
  virtual PrimaryMetric primary_metric() const { return {"loss", false}; }
  // A term of the loss in words: "label".
  virtual const char* term_name() const { return "label"; }

 protected:
  // The options of a loss that is a cross entropy over classes for each of batch.labels.
  enum class LabelOptions : uint8_t { none, tokens, classes };
  virtual LabelOptions label_options() const { return LabelOptions::none; }
  // Those that apply to a pass: none in an evaluation.
  engine::LabelLoss label_loss(const engine::Tape& tape) const;

 private:
  LossOptions loss_options_{};
};

// Forward pass and loss of a batch.
LossPass forward_loss(engine::Tape& tape, const models::Network& network, const Task& task,
                      const data::RaggedBatch& batch, double denominator, double* total = nullptr);

}  // namespace graft::tasks
