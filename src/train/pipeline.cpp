#include "graft/pipeline.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "data/cross_encoder.h"
#include "data/problem_type.h"
#include "models/state.h"
#include "tasks/sequence_classification.h"
#include "train/inference.h"

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

struct Pipeline::Parts {
  Parts(const std::filesystem::path& folder, const PipelineOptions& options)
      : inference(folder, tasks::sequence_classification_task().head->task, options) {}
  train::Inference inference;
  std::vector<std::string> labels;
  Scores scores = Scores::softmax;
};

Pipeline::Pipeline(const std::filesystem::path& folder, const PipelineOptions& options) try
    : parts_(std::make_unique<Parts>(folder, options)) {
  Parts& p = *parts_;
  p.labels = p.inference.model().labels();
  p.scores = scores_of(p.inference.model(), p.labels.size());
} catch (...) {
  rethrow_as_error();
}

Pipeline::~Pipeline() = default;
Pipeline::Pipeline(Pipeline&&) noexcept = default;

Prediction Pipeline::operator()(const std::string& text) const { return predict({text}).front(); }
const std::vector<std::string>& Pipeline::labels() const { return parts_->labels; }
const Model& Pipeline::model() const { return parts_->inference.model(); }
int64_t Pipeline::num_truncated() const { return parts_->inference.num_truncated(); }

std::vector<Prediction> Pipeline::predict(const std::vector<std::string>& texts,
                                          const std::vector<std::string>& pairs) const try {
  const Parts& p = *parts_;
  if (!pairs.empty() && pairs.size() != texts.size())
    fail("{} texts but {} pairs", texts.size(), pairs.size());
  const PipelineOptions& options = p.inference.options();
  const train::ThreadsOfACall threads(options.num_threads);
  std::vector<Prediction> out;
  data::RaggedBatch batch;
  for (size_t begin = 0; begin < texts.size(); begin += static_cast<size_t>(options.batch_size)) {
    const size_t end = std::min(texts.size(), begin + static_cast<size_t>(options.batch_size));
    batch.clear();
    for (size_t i = begin; i < end; ++i)
      batch.append(p.inference.encode(texts, pairs, i), static_cast<int64_t>(i));
    p.inference.run(batch, [&](engine::Tensor logits) {
      for (int64_t r = 0; r < logits.rows; ++r)
        out.push_back(make_prediction(logits.row(r), p.labels, p.scores));
    });
  }
  return out;
} catch (...) {
  rethrow_as_error();
}

}  // namespace graft
