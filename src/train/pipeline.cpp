#include "graft/pipeline.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/folder.h"
#include "base/shown.h"
#include "data/cross_encoder.h"
#include "data/problem_type.h"
#include "models/adapter_folder.h"
#include "models/state.h"
#include "tasks/sequence_classification.h"
#include "train/inference.h"
#include "train/trained_model.h"

namespace graft {

// How logits become scores.
enum class Scores : uint8_t { raw, sigmoid, softmax };

namespace {

// The choice of the reference's TextClassificationPipeline: one output without "regression" is a sigmoid. A
// cross-encoder of sentence-transformers names the function itself.
Scores scores_of(const Model& model, size_t num_labels) {
  const models::ModelConfig& config = model.state().config;
  if (num_labels == 1) {
    const data::ScoreActivation named = data::score_activation(config.json(), config.origin());
    if (named != data::ScoreActivation::unnamed)
      return named == data::ScoreActivation::sigmoid ? Scores::sigmoid : Scores::raw;
  }
  const std::string problem = model.problem_type();
  if (problem == data::problem_type::kRegression) return Scores::raw;
  return problem == data::problem_type::kMultiLabel || num_labels == 1 ? Scores::sigmoid : Scores::softmax;
}

Prediction make_prediction(const float* logits, const std::vector<std::string>& labels, Scores scores) {
  Prediction p;
  double sum = 0;
  const double max = *std::max_element(logits, logits + labels.size());
  for (size_t i = 0; i < labels.size(); ++i) {
    const double x = logits[i];
    const double score = scores == Scores::raw       ? x
                         : scores == Scores::sigmoid ? 1 / (1 + std::exp(-x))
                                                     : std::exp(x - max);
    p.scores.push_back({labels[i], score});
    sum += score;
  }
  if (scores == Scores::softmax) {
    for (LabelScore& s : p.scores) s.score /= sum;
  }
  // The first of the largest logits, as the metrics count it.
  const size_t best = static_cast<size_t>(std::max_element(logits, logits + labels.size()) - logits);
  p.label = p.scores[best].label;
  p.score = p.scores[best].score;
  return p;
}

}  // namespace

// A model with a head: that of the folder itself, or of an adapter.
struct Classifier {
  Classifier(Model model, const std::filesystem::path& folder, const PipelineOptions& options,
             const std::shared_ptr<train::PassMemories>& memories)
      : inference(std::move(model), folder, options, memories),
        labels(inference.model().labels()),
        scores(scores_of(inference.model(), labels.size())) {}
  train::Inference inference;
  std::vector<std::string> labels;
  Scores scores;
};

namespace {

const char* task_name() { return tasks::sequence_classification_task().head->task; }

std::vector<Prediction> predict_with(const Classifier& c, const std::vector<std::string>& texts,
                                     const std::vector<std::string>& pairs) {
  const PipelineOptions& options = c.inference.options();
  const train::ThreadsOfACall threads(options.num_threads);
  std::vector<Prediction> out;
  data::RaggedBatch batch;
  for (size_t begin = 0; begin < texts.size(); begin += static_cast<size_t>(options.batch_size)) {
    const size_t end = std::min(texts.size(), begin + static_cast<size_t>(options.batch_size));
    batch.clear();
    for (size_t i = begin; i < end; ++i)
      batch.append(c.inference.encode(texts, pairs, i), static_cast<int64_t>(i));
    c.inference.run(batch, [&](engine::Tensor logits) {
      for (int64_t r = 0; r < logits.rows; ++r)
        out.push_back(make_prediction(logits.row(r), c.labels, c.scores));
    });
  }
  return out;
}

// The model of a base, and whether its head is trained.
std::pair<Model, bool> load_base(const std::filesystem::path& folder) {
  if (is_folder(folder) && models::is_adapter_folder(folder))
    fail_with("name the base model; this folder may be one of the adapters",
              "{}: is a folder of adapters, and no base model", folder.string());
  if (train::head_task(folder, train::config_of(folder)) == task_name())
    return {train::load_trained(folder, task_name()), true};
  ModelOptions options;
  options.task = task_name();
  return {Model::from_pretrained(folder, options), false};
}

}  // namespace

struct Pipeline::Parts {
  PipelineOptions options;
  std::shared_ptr<train::PassMemories> memories = std::make_shared<train::PassMemories>();
  std::optional<Model> base;        // of the adapters; none: the folder holds adapters itself
  std::unique_ptr<Classifier> own;  // the folder's own head; null: it has none
  std::vector<std::pair<std::string, std::unique_ptr<Classifier>>> adapters;
  const Classifier* active = nullptr;
};

Pipeline::Pipeline(const std::filesystem::path& folder, const PipelineOptions& options) try
    : parts_(std::make_unique<Parts>()) {
  Parts& p = *parts_;
  p.options = options;
  p.own = std::make_unique<Classifier>(train::load_trained(folder, task_name(), options.load_lang_adapter),
                                       folder, options, p.memories);
  if (!p.own->inference.model().state().adapter) p.base = p.own->inference.model();
  p.active = p.own.get();
} catch (...) {
  rethrow_as_error();
}

Pipeline::Pipeline(const std::filesystem::path& base, const std::vector<NamedAdapter>& adapters,
                   const PipelineOptions& options) try
    : parts_(std::make_unique<Parts>()) {
  Parts& p = *parts_;
  if (adapters.empty()) fail("{}: no adapter is named for this base model", base.string());
  p.options = options;
  auto [model, has_head] = load_base(base);
  p.base = model;
  if (has_head) p.own = std::make_unique<Classifier>(model, base, options, p.memories);
  for (const NamedAdapter& a : adapters) load_adapter(a.folder, a.name);
  p.active = p.adapters.front().second.get();
} catch (...) {
  rethrow_as_error();
}

Pipeline::~Pipeline() = default;
Pipeline::Pipeline(Pipeline&&) noexcept = default;

void Pipeline::load_adapter(const std::filesystem::path& folder, const std::string& name) try {
  Parts& p = *parts_;
  const auto same = [&](const auto& a) { return a.first == name; };
  if (name.empty()) fail("{}: an adapter needs a name", folder.string());
  if (std::any_of(p.adapters.begin(), p.adapters.end(), same))
    fail_with("give each adapter a name of its own", "an adapter named \"{}\" is loaded already",
              shown(name));
  if (!p.base)
    fail_with("make the pipeline of the base model, and load both adapters over it",
              "{}: adapters cannot be loaded over the adapters of {}", folder.string(),
              p.own->inference.model().state().origin.string());
  p.adapters.emplace_back(
      name, std::make_unique<Classifier>(
                train::load_trained_over(*p.base, folder, task_name(), p.options.load_lang_adapter), folder,
                p.options, p.memories));
} catch (...) {
  rethrow_as_error();
}

namespace {

template <class Adapters>
const Classifier& find_adapter(const Adapters& adapters, const std::string& name) {
  std::vector<std::string> names;
  for (const auto& [known, classifier] : adapters) {
    if (known == name) return *classifier;
    names.push_back(known);
  }
  fail_with(names.empty() ? "load_adapter loads one" : fmt::format("loaded: {}", fmt::join(names, ", ")),
            "no adapter named \"{}\" is loaded", shown(name));
}

}  // namespace

void Pipeline::set_adapter(const std::string& name) try {
  parts_->active = &find_adapter(parts_->adapters, name);
} catch (...) {
  rethrow_as_error();
}

void Pipeline::disable_adapters() try {
  if (!parts_->own)
    fail_with("set_adapter chooses an adapter", "{}: the base model has no trained head of its own",
              parts_->base->state().origin.string());
  parts_->active = parts_->own.get();
} catch (...) {
  rethrow_as_error();
}

Prediction Pipeline::operator()(const std::string& text) const { return predict({text}).front(); }
const std::vector<std::string>& Pipeline::labels() const { return parts_->active->labels; }
const Model& Pipeline::model() const { return parts_->active->inference.model(); }

int64_t Pipeline::num_truncated() const {
  int64_t n = parts_->own ? parts_->own->inference.num_truncated() : 0;
  for (const auto& [name, classifier] : parts_->adapters) n += classifier->inference.num_truncated();
  return n;
}

std::vector<Prediction> Pipeline::predict(const std::vector<std::string>& texts,
                                          const std::vector<std::string>& pairs,
                                          const std::string& adapter) const try {
  if (!pairs.empty() && pairs.size() != texts.size())
    fail("{} texts but {} pairs", texts.size(), pairs.size());
  return predict_with(adapter.empty() ? *parts_->active : find_adapter(parts_->adapters, adapter), texts,
                      pairs);
} catch (...) {
  rethrow_as_error();
}

}  // namespace graft
