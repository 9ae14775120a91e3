#include "graft/pipeline.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>

#include "base/error.h"
#include "base/json.h"
#include "base/threads.h"
#include "graft/tokenizer.h"
#include "models/registry.h"
#include "train/plan.h"
#include "train/runner.h"
#include "train/saved_arguments.h"

namespace graft {

using train::StepMemory;

struct Pipeline::Parts {
  Parts(Model m, std::shared_ptr<Tokenizer> t) : model(std::move(m)), tokenizer(std::move(t)) {}
  Model model;
  std::shared_ptr<Tokenizer> tokenizer;
  PipelineOptions options;
  std::vector<std::string> labels;
  std::string problem_type;
  std::atomic<int64_t> truncated = 0;
  std::mutex mutex;
  std::vector<std::unique_ptr<StepMemory>> free;  // memory of calls that ended, for calls that come

  std::unique_ptr<StepMemory> borrow() {
    const std::lock_guard lock(mutex);
    if (free.empty()) return std::make_unique<StepMemory>();
    auto memory = std::move(free.back());
    free.pop_back();
    return memory;
  }
  void give_back(std::unique_ptr<StepMemory> memory) {
    const std::lock_guard lock(mutex);
    free.push_back(std::move(memory));
  }
};

namespace {

void check_finite(const float* logits, size_t n, const Model& model) {
  if (std::all_of(logits, logits + n, [](float x) { return std::isfinite(x); })) return;
  fail_with("the weights are damaged or the training that made them diverged: copy or train the model again",
            "{}: the model's output is not a finite number", model.state().origin.string());
}

// Sets the calling thread's number of threads; gives it back what it had, also when an Error leaves.
class ThreadsOfACall {
 public:
  explicit ThreadsOfACall(int n) : before_(n > 0 ? num_threads() : 0) {
    if (n > 0) set_num_threads(n);
  }
  ~ThreadsOfACall() {
    if (before_ > 0) set_num_threads(before_);
  }
  ThreadsOfACall(const ThreadsOfACall&) = delete;
  ThreadsOfACall& operator=(const ThreadsOfACall&) = delete;

 private:
  int before_;
};

Prediction make_prediction(const float* logits, const std::vector<std::string>& labels,
                           const std::string& problem) {
  Prediction p;
  double sum = 0;
  const double max = *std::max_element(logits, logits + labels.size());
  for (size_t i = 0; i < labels.size(); ++i) {
    const double x = logits[i];
    const double score = problem == "regression"                   ? x
                         : problem == "multi_label_classification" ? 1 / (1 + std::exp(-x))
                                                                   : std::exp(x - max);
    p.scores.push_back({labels[i], score});
    sum += score;
  }
  if (problem == "single_label_classification") {
    for (LabelScore& s : p.scores) s.score /= sum;
  }
  // The first of the largest logits, as the metrics count it.
  const size_t best = static_cast<size_t>(std::max_element(logits, logits + labels.size()) - logits);
  p.label = p.scores[best].label;
  p.score = p.scores[best].score;
  return p;
}

}  // namespace

Pipeline::Pipeline(const std::filesystem::path& folder, const PipelineOptions& options) {
  if (options.batch_size < 1)
    fail("PipelineOptions::batch_size is {}; at least 1 was expected", options.batch_size);
  const models::ModelConfig config = models::ModelConfig::from_file(folder / "config.json");
  if (const std::string task = models::task_of_config(config); task != "sequence-classification") {
    fail_with("fine-tune it first: graft train --task sequence-classification",
              "{}: not a sequence-classification model ({})", folder.string(),
              task.empty() ? "its config.json names no head" : task);
  }
  parts_ = std::make_unique<Parts>(Model::from_pretrained(folder), Tokenizer::from_pretrained(folder));
  Parts& p = *parts_;
  if (!p.model.load_report().missing.empty()) {
    fail_with("fine-tune it first: graft train", "{}: the checkpoint has no trained head ({} is missing)",
              folder.string(), p.model.load_report().missing.front());
  }
  p.options = options;
  train::use_precision(p.model, train::saved_bf16(folder));
  p.labels = p.model.labels();
  p.problem_type = p.model.problem_type();
  if (p.problem_type.empty())
    p.problem_type = p.labels.size() == 1 ? "regression" : "single_label_classification";
  if (p.options.max_seq_length <= 0) {
    p.options.max_seq_length = static_cast<int>(train::saved_max_seq_length(folder, p.model, *p.tokenizer));
  }
}

Pipeline::~Pipeline() = default;
Pipeline::Pipeline(Pipeline&&) noexcept = default;

Prediction Pipeline::operator()(const std::string& text) const { return predict({text}).front(); }
const std::vector<std::string>& Pipeline::labels() const { return parts_->labels; }
int64_t Pipeline::num_truncated() const { return parts_->truncated; }

std::vector<Prediction> Pipeline::predict(const std::vector<std::string>& texts,
                                          const std::vector<std::string>& pairs) const {
  Parts& p = *parts_;
  if (!pairs.empty() && pairs.size() != texts.size())
    fail("{} texts but {} pairs", texts.size(), pairs.size());
  const ThreadsOfACall threads(p.options.num_threads);
  EncodeOptions encode;
  encode.ids_only = true;
  encode.truncation = Truncation::longest_first;
  encode.max_length = p.options.max_seq_length;
  std::vector<Prediction> out;
  std::unique_ptr<StepMemory> memory = p.borrow();
  data::RaggedBatch batch;
  for (size_t begin = 0; begin < texts.size(); begin += static_cast<size_t>(p.options.batch_size)) {
    const size_t end = std::min(texts.size(), begin + static_cast<size_t>(p.options.batch_size));
    batch.clear();
    for (size_t i = begin; i < end; ++i) {
      const Encoding e = pairs.empty() ? p.tokenizer->encode(texts[i], encode)
                                       : p.tokenizer->encode_pair(texts[i], pairs[i], encode);
      p.truncated += e.num_truncated > 0;
      batch.append(e, static_cast<int64_t>(i));
    }
    train::check_batch(batch, p.model);
    memory->prepare(p.model.state(), nullptr, batch, false);
    memory->arena().reset();
    engine::Tape tape(engine::cpu_kernels(), memory->arena(), p.model.state().parameters,
                      {.bf16 = p.model.state().bf16});
    const engine::Var logits = models::forward_logits(tape, p.model.state().network, batch);
    for (int64_t r = 0; r < logits->data.rows; ++r) {
      check_finite(logits->data.row(r), p.labels.size(), p.model);
      out.push_back(make_prediction(logits->data.row(r), p.labels, p.problem_type));
    }
  }
  p.give_back(std::move(memory));
  return out;
}

}  // namespace graft
