#include "tasks/token_classification.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "data/problem_type.h"
#include "models/registry.h"
#include "models/state.h"
#include "tasks/tagged_text.h"

namespace graft::tasks {

namespace {

class TokenMetrics : public Metrics {
 public:
  TokenMetrics(const std::vector<std::string>& labels, const TokenMetricOptions& options)
      : counts_(labels, options) {}
  // A text is an example: its rows are those of all its windows, in order.
  void add(const data::RaggedBatch& batch, engine::Tensor logits) override {
    int64_t row = 0;
    std::vector<int> truth, predictions;
    for (int32_t e = 0; e < batch.num_examples(); ++e) {
      const int32_t end =
          batch.cu_seqlens[static_cast<size_t>(batch.cu_examples[static_cast<size_t>(e) + 1])];
      truth.clear();
      predictions.clear();
      for (; row < logits.rows && batch.label_rows[static_cast<size_t>(row)] < end; ++row) {
        const float* x = logits.row(row);
        truth.push_back(batch.labels[static_cast<size_t>(row)]);
        predictions.push_back(static_cast<int>(std::max_element(x, x + logits.cols) - x));
      }
      counts_.add(truth, predictions);
    }
  }
  Partial partial() const override { return counts_.partial(); }
  void merge(const Partial& part) override { counts_.merge(part); }
  MetricValues values() const override { return counts_.values(); }
  std::vector<std::string> names(const data::RaggedBatch& /*example*/) const override {
    return counts_.names();
  }

 private:
  TokenCounts counts_;
};

}  // namespace

TokenClassification::TokenClassification(std::vector<std::string> labels, const TokenMetricOptions& options)
    : labels_(std::move(labels)), options_(options), has_entities_(data::TagSet(labels_).has_entities()) {}

engine::Var TokenClassification::loss(engine::Tape& tape, engine::Var logits, const data::RaggedBatch& batch,
                                      double denominator, double* total) const {
  return engine::cross_entropy(tape, logits, batch.labels.data(), denominator, total, label_loss(tape));
}

std::unique_ptr<Metrics> TokenClassification::metrics() const {
  return std::make_unique<TokenMetrics>(labels_, options_);
}

namespace {

data::CheckpointLabels single_labels(data::CheckpointLabels checkpoint) {
  checkpoint.problem_type = data::problem_type::kSingleLabel;
  return checkpoint;
}

void choose_token_labels(ModelOptions& options, const data::CheckpointLabels& checkpoint,
                         const TaskData& data) {
  options.labels = data::LabelMap::for_training(data.train, single_labels(checkpoint)).names();
}

// As in sequence-classification: the labels that ModelOptions chose, else those that follow from the head and
// the training data, else the model's own.
data::LabelMap token_labels(const Model& model, const TaskData& data) {
  const data::CheckpointLabels own = single_labels({model.labels(), true, ""});
  if (data.train.size() == 0) return data::LabelMap::from_checkpoint(own, LabelKind::strings);
  if (model.state().labels_given) return data::LabelMap::chosen(data.train, model.labels(), own.problem_type);
  return data::LabelMap::for_training(data.train, own);
}

std::unique_ptr<Task> make_token_classification(const Model& model, LabelKind /*labels*/) {
  return std::make_unique<TokenClassification>(model.labels());
}

// The scheme of the training data, else that of the scored data. Tags of two schemes in one run are a
// mistake of the data.
TagScheme scheme_of(const TaskData& data) {
  TagScheme scheme = TagScheme::none;
  const Dataset* first = nullptr;
  for (const Dataset* set : {&data.train, &data.eval, &data.test}) {
    if (set->size() == 0 || set->tag_scheme() == TagScheme::none) continue;
    if (first && set->tag_scheme() != scheme)
      log_warning("{}: tags of the scheme {}, but those of {} are {}; --tag_scheme names the one to check",
                  set->origin(), data::name_of(set->tag_scheme()), first->origin(), data::name_of(scheme));
    if (!first) first = set, scheme = set->tag_scheme();
  }
  return scheme;
}

PreparedTask prepare_token_classification(Model& model, const TaskData& data,
                                          const FeatureSettings& settings) {
  const data::LabelMap labels = token_labels(model, data);
  model.state().config.set_labels(labels.names());
  TokenMetricOptions metric;
  metric.scheme = scheme_of(data);
  metric.strict = settings.strict_entities;
  metric.per_type = settings.return_entity_level_metrics;
  const data::TagSet tags(labels.names());
  if (metric.strict && !tags.has_entities())
    throw UsageError("--strict_entities is refused: the labels are no tags of entities such as B-PER");
  if (!metric.strict && tags.scheme_of_names() == TagScheme::bilou)
    log_warning(
        "the rules of seqeval's default mode do not know L- and U-: entities that touch are counted as one; "
        "--strict_entities true counts them as BILOU defines them");
  TaggedTextOptions options;
  options.max_seq_length = settings.max_seq_length;
  const auto special = static_cast<int64_t>(data.tokenizer->encode("").input_ids.size());
  options.stride = window_stride(settings.stride, settings.max_seq_length, special);
  options.label_all_tokens = settings.label_all_tokens;
  const auto encode = [&](const char* part, const Dataset& set, bool apart) -> std::unique_ptr<Features> {
    if (set.size() == 0) return nullptr;
    options.windows_apart = apart;
    return encode_tagged(part, set, labels, model, *data.tokenizer, options);
  };
  PreparedTask out;
  out.task = std::make_unique<TokenClassification>(labels.names(), metric);
  out.train = encode("train", data.train, true);
  out.eval = encode("eval", data.eval, false);
  out.test = encode("test", data.test, false);
  return out;
}

// As many as a text of words that are tokens has.
void add_token_labels(data::RaggedBatch& batch, const Model& /*model*/) {
  for (int32_t r = 0; r < batch.rows(); ++r) batch.label_rows.push_back(r);
  batch.labels.assign(batch.label_rows.size(), 0);
}

}  // namespace

const TaskEntry& token_classification_task() {
  static const TaskEntry entry = {
      &models::kTokenClassification,
      Input::tagged_words,
      Answer::entities,
      0,
      {"label_all_tokens", "stride", "strict_entities", "return_entity_level_metrics",
       "label_smoothing_factor", "r_drop_alpha", "class_weights", "focal_gamma"},
      choose_token_labels,
      make_token_classification,
      prepare_token_classification,
      add_token_labels};
  return entry;
}

}  // namespace graft::tasks
