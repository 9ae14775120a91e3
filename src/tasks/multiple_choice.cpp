#include "tasks/multiple_choice.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/log.h"
#include "engine/basic_ops.h"
#include "models/registry.h"
#include "tasks/vocabulary.h"

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

std::vector<Encoding> encode_choices(const Example& example, const Tokenizer& tokenizer, int32_t max_length) {
  EncodeOptions options;
  options.ids_only = true;
  options.truncation = Truncation::longest_first;
  options.max_length = max_length;
  std::vector<std::string> firsts(example.choices.size(), example.text), seconds;
  for (const std::string& choice : example.choices)
    seconds.push_back(example.text_pair.empty() ? choice : example.text_pair + " " + choice);
  return tokenizer.encode_batch(firsts, seconds, options);
}

ChoiceFeatures::ChoiceFeatures(const Dataset& dataset, const Tokenizer& tokenizer, int32_t max_length) {
  for (const Example& e : dataset.examples()) {
    for (const Encoding& choice : encode_choices(e, tokenizer, max_length)) {
      if (choice.input_ids.empty())
        fail_with("remove the row: this tokenizer adds no special tokens, so the model would read nothing",
                  "{}: line {}: a choice gives no tokens", dataset.origin(), e.line);
      ids_.insert(ids_.end(), choice.input_ids.begin(), choice.input_ids.end());
      types_.insert(types_.end(), choice.token_type_ids.begin(), choice.token_type_ids.end());
      types_.resize(ids_.size(), 0);
      first_ids_.push_back(static_cast<int64_t>(ids_.size()));
      truncated_ += choice.num_truncated > 0;
    }
    first_choices_.push_back(static_cast<int64_t>(first_ids_.size()) - 1);
    labels_.push_back(e.labels.empty() ? -1 : std::stoi(e.labels.front()));
  }
}

int32_t ChoiceFeatures::length(int64_t i) const {
  const auto at = static_cast<size_t>(i);
  return static_cast<int32_t>(first_ids_[static_cast<size_t>(first_choices_[at + 1])] -
                              first_ids_[static_cast<size_t>(first_choices_[at])]);
}

void ChoiceFeatures::append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index,
                                      int64_t /*epoch*/) const {
  const auto at = static_cast<size_t>(i);
  for (int64_t c = first_choices_[at]; c < first_choices_[at + 1]; ++c) {
    const int64_t begin = first_ids_[static_cast<size_t>(c)], end = first_ids_[static_cast<size_t>(c) + 1];
    batch.append_sequence(ids_.data() + begin, types_.data() + begin, static_cast<int32_t>(end - begin),
                          data::sequence_key(index, c - first_choices_[at]));
  }
  batch.labels.push_back(labels_[at]);
}

namespace {

std::unique_ptr<Task> make_multiple_choice(const Model& /*model*/, LabelKind /*labels*/) {
  return std::make_unique<MultipleChoice>();
}

std::unique_ptr<Features> choices_of(const std::string& part, const Dataset& set, const Model& model,
                                     const Tokenizer& tokenizer, int64_t max_length) {
  if (set.size() == 0) return nullptr;
  for (const Example& e : set.examples())
    if (e.choices.size() < 2 || e.labels.empty())
      fail_with("read the file with DatasetOptions::choices, or set Example::choices and labels",
                "{}: a row without choices or without a label", set.origin().empty() ? part : set.origin());
  auto features = std::make_unique<ChoiceFeatures>(set, tokenizer, static_cast<int32_t>(max_length));
  check_ids(features->ids().data(), features->ids().size(), model, tokenizer,
            set.origin().empty() ? part : set.origin());
  if (features->num_truncated() > 0)
    log_warning("{}: {} of {} choices were truncated at {} tokens; --max_seq_length keeps more", part,
                features->num_truncated(), features->num_choices(), max_length);
  return features;
}

PreparedTask prepare_multiple_choice(Model& model, const TaskData& data, const FeatureSettings& settings) {
  PreparedTask out;
  out.task = std::make_unique<MultipleChoice>();
  const auto features = [&](const char* part, const Dataset& set) {
    return choices_of(part, set, model, *data.tokenizer, settings.max_seq_length);
  };
  out.train = features("train", data.train);
  out.eval = features("eval", data.eval);
  out.test = features("test", data.test);
  return out;
}

void add_sample_choices(data::RaggedBatch& batch, const Model& /*model*/) {
  batch.labels.assign(static_cast<size_t>(batch.num_examples()), 0);
}

}  // namespace

const TaskEntry& multiple_choice_task() {
  static const TaskEntry entry = {&models::kMultipleChoice,
                                  Input::choices,
                                  Answer::choices,
                                  0,  // run_swag: the model's limit
                                  {},
                                  nullptr,
                                  make_multiple_choice,
                                  prepare_multiple_choice,
                                  add_sample_choices};
  return entry;
}

}  // namespace graft::tasks
