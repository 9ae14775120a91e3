#include "tasks/sequence_classification.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/shown.h"
#include "data/cross_encoder.h"
#include "data/problem_type.h"
#include "models/registry.h"
#include "models/state.h"
#include "tasks/examples.h"

namespace graft::tasks {

using engine::Tensor;
using engine::Var;

namespace {

class SingleLabelMetrics : public Metrics {
 public:
  explicit SingleLabelMetrics(int num_labels) : counts_(num_labels) {}
  void add(const data::RaggedBatch& batch, Tensor logits) override {
    for (int64_t r = 0; r < logits.rows; ++r) {
      const int32_t label = batch.labels[static_cast<size_t>(r)];
      if (label < 0) continue;
      const float* x = logits.row(r);
      counts_.add(label, static_cast<int>(std::max_element(x, x + logits.cols) - x));
    }
  }
  Partial partial() const override { return counts_.partial(); }
  void merge(const Partial& part) override { counts_.merge(part); }
  MetricValues values() const override { return counts_.values(); }
  std::optional<Collapse> collapse() const override { return counts_.collapse(); }
  std::optional<Permutation> permutation() const override { return counts_.permutation(); }

 private:
  ClassCounts counts_;
};

class MultiLabelMetrics : public Metrics {
 public:
  explicit MultiLabelMetrics(int num_labels) : counts_(num_labels) {}
  void add(const data::RaggedBatch& batch, Tensor logits) override {
    for (int64_t r = 0; r < logits.rows; ++r)
      counts_.add(batch.float_labels.data() + r * logits.cols, logits.row(r));
  }
  Partial partial() const override { return counts_.partial(); }
  void merge(const Partial& part) override { counts_.merge(part); }
  MetricValues values() const override { return counts_.values(); }

 private:
  LabelCounts counts_;
};

class RegressionMetrics : public Metrics {
 public:
  explicit RegressionMetrics(bool sigmoid) : sigmoid_(sigmoid) {}
  void add(const data::RaggedBatch& batch, Tensor logits) override {
    for (int64_t r = 0; r < logits.rows; ++r) {
      for (int64_t c = 0; c < logits.cols; ++c) {
        const float x = logits.row(r)[c];
        correlation_.add(batch.float_labels[static_cast<size_t>(r * logits.cols + c)],
                         sigmoid_ ? 1 / (1 + std::exp(-x)) : x);
      }
    }
  }
  Partial partial() const override { return correlation_.partial(); }
  void merge(const Partial& part) override { correlation_.merge(part); }
  MetricValues values() const override { return correlation_.values(); }

 private:
  bool sigmoid_;
  Correlation correlation_;
};

}  // namespace

SequenceClassification::SequenceClassification(int num_labels, std::string problem_type, bool sigmoid)
    : num_labels_(num_labels) {
  using namespace data::problem_type;
  if (problem_type == kSingleLabel)
    kind_ = Kind::single;
  else if (problem_type == kMultiLabel)
    kind_ = Kind::multi;
  else if (problem_type == kRegression)
    kind_ = sigmoid ? Kind::probability : Kind::regression;
  else
    fail("problem_type \"{}\" is not known ({}, {}, {} are)", problem_type, kSingleLabel, kMultiLabel,
         kRegression);
}

double SequenceClassification::loss_terms(const data::RaggedBatch& batch) const {
  if (kind_ != Kind::single) return static_cast<double>(batch.float_labels.size());
  return static_cast<double>(
      std::count_if(batch.labels.begin(), batch.labels.end(), [](int32_t l) { return l >= 0; }));
}

Var SequenceClassification::loss(engine::Tape& tape, Var logits, const data::RaggedBatch& batch,
                                 double denominator, double* total) const {
  if (kind_ == Kind::single)
    return engine::cross_entropy(tape, logits, batch.labels.data(), denominator, total, label_loss(tape));
  const Tensor targets = engine::make_tensor(const_cast<float*>(batch.float_labels.data()), logits->data.rows,
                                             logits->data.cols);
  return kind_ != Kind::regression ? engine::binary_cross_entropy(tape, logits, targets, denominator, total)
                                   : engine::squared_error(tape, logits, targets, denominator, total);
}

std::unique_ptr<Metrics> SequenceClassification::metrics() const {
  switch (kind_) {
    case Kind::single:
      return std::make_unique<SingleLabelMetrics>(num_labels_);
    case Kind::multi:
      return std::make_unique<MultiLabelMetrics>(num_labels_);
    default:
      return std::make_unique<RegressionMetrics>(kind_ == Kind::probability);
  }
}

PrimaryMetric SequenceClassification::primary_metric() const {
  return {kind_ == Kind::single ? "accuracy" : kind_ == Kind::multi ? "f1_micro" : "pearson", true};
}

namespace {

void choose_labels(ModelOptions& options, const data::CheckpointLabels& checkpoint, const TaskData& data) {
  const data::LabelMap labels = data::LabelMap::for_training(data.train, checkpoint);
  options.labels = labels.names();
  options.problem_type = labels.problem_type();
}

// Labels of a probability lie in [0, 1].
void check_probabilities(const Dataset& dataset, const data::LabelMap& labels) {
  dataset.for_each([&](const Example& e) {
    const float score = labels.score(e, dataset);
    if (score >= 0 && score <= 1) return;
    fail_with("divide the scores by their largest value, or train without --loss BinaryCrossEntropyLoss",
              "{}: line {}: the score {} is outside of [0, 1], where a probability lies", dataset.origin(),
              e.line, score);
  });
}

bool is_probability(const Model& model) {
  const models::ModelConfig& config = model.state().config;
  return model.labels().size() == 1 &&
         data::score_activation(config.json(), config.origin()) == data::ScoreActivation::sigmoid;
}

// The sigmoid convention of a cross-encoder, where --loss asks for it.
void choose_probability(Model& model, const data::LabelMap& labels, const std::string& loss) {
  if (loss.empty()) return;
  if (loss != kCrossEncoderLoss)
    throw UsageError(
        fmt::format("--loss {} is not known for this task; there is {}", loss, kCrossEncoderLoss));
  if (labels.problem_type() != data::problem_type::kRegression)
    throw UsageError(fmt::format("--loss {} is for labels that are numbers; these are names of classes",
                                 kCrossEncoderLoss),
                     "write scores from 0 to 1, or leave out --loss to train a classifier");
  data::set_sigmoid(model.state().config.json());
}

}  // namespace

std::string problem_type_of_loss(const std::string& loss) {
  return loss == kCrossEncoderLoss ? data::problem_type::kRegression : "";
}

namespace {

std::unique_ptr<Task> make_sequence_classification(const Model& model, LabelKind kind) {
  const int n = static_cast<int>(model.labels().size());
  const std::string given = model.problem_type();
  return std::make_unique<SequenceClassification>(
      n, given.empty() ? data::infer_problem_type(kind, n) : given, is_probability(model));
}

// The labels of a model: those that ModelOptions chose (load_for_training does, from the training data), else
// those that follow from its head and the training data, else its own.
data::LabelMap labels_of(const Model& model, const TaskData& data) {
  if (model.state().labels_given && data.train.size() > 0)
    return data::LabelMap::chosen(data.train, model.labels(), model.problem_type());
  const data::CheckpointLabels checkpoint = {model.labels(), true, model.problem_type()};
  if (data.train.size() > 0) return data::LabelMap::for_training(data.train, checkpoint);
  const Dataset& scored = data.eval.size() > 0 ? data.eval : data.test;
  return data::LabelMap::from_checkpoint(checkpoint, scored.label_kind());
}

PreparedTask prepare_sequence_classification(Model& model, const TaskData& data,
                                             const FeatureSettings& settings) {
  const data::LabelMap labels = labels_of(model, data);
  model.state().config.set_labels(labels.names());
  model.state().config.json()["problem_type"] = labels.problem_type();
  choose_probability(model, labels, settings.loss);
  const bool probability = is_probability(model) && labels.problem_type() == data::problem_type::kRegression;
  for (const Dataset* set : {&data.train, &data.eval, &data.test})
    if (set->size() > 0) {
      labels.check(*set);
      if (probability) check_probabilities(*set, labels);
    }
  warn_of_other_inputs(data.train, data.eval);
  warn_of_other_inputs(data.train, data.test);
  const auto encode = [&](const char* part, const Dataset& set) -> std::unique_ptr<Features> {
    if (set.size() == 0) return nullptr;
    return encode_examples(part, set, labels, model, *data.tokenizer, settings);
  };
  PreparedTask out;
  out.task =
      std::make_unique<SequenceClassification>(labels.num_labels(), labels.problem_type(), probability);
  out.train = encode("train", data.train);
  out.eval = encode("eval", data.eval);
  out.test = encode("test", data.test);
  return out;
}

void add_sample_labels(data::RaggedBatch& batch, const Model& model) {
  const auto n = static_cast<size_t>(batch.size());
  const std::unique_ptr<Task> task = make_sequence_classification(model, LabelKind::integers);
  if (static_cast<const SequenceClassification&>(*task).single_label())
    batch.labels.assign(n, 0);
  else
    batch.float_labels.assign(n * model.labels().size(), 0.0f);
}

}  // namespace

const TaskEntry& sequence_classification_task() {
  constexpr int64_t kLength = 128;  // run_glue's max_seq_length
  static const TaskEntry entry = {
      &models::kSequenceClassification,
      Input::labelled_rows,
      Answer::labels,
      kLength,
      {"loss", "label_smoothing_factor", "r_drop_alpha", "class_weights", "focal_gamma"},
      choose_labels,
      make_sequence_classification,
      prepare_sequence_classification,
      add_sample_labels,
      true};
  return entry;
}

}  // namespace graft::tasks
