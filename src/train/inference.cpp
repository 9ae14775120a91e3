#include "train/inference.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/threads.h"
#include "models/registry.h"
#include "train/plan.h"
#include "train/saved_arguments.h"

namespace graft::train {
namespace {

Model load(const std::filesystem::path& folder, const std::string& task) {
  const models::ModelConfig config = models::ModelConfig::from_file(folder / "config.json");
  if (const std::string found = models::task_of_config(config); found != task) {
    if (found.empty())
      models::find_architecture(config, task);  // a model_type that is not here is the reason
    fail_with(fmt::format("fine-tune it first: graft train --task {}", task), "{}: not a {} model: {}",
              folder.string(), task, models::head_in_words(config));
  }
  ModelOptions options;
  options.task = task;
  Model model = Model::from_pretrained(folder, options);
  if (!model.load_report().missing.empty()) {
    fail_with("fine-tune it first: graft train", "{}: the checkpoint has no trained head ({} is missing)",
              folder.string(), model.load_report().missing.front());
  }
  return model;
}

void check_finite(engine::Tensor logits, const Model& model) {
  for (int64_t r = 0; r < logits.rows; ++r) {
    const float* x = logits.row(r);
    if (std::all_of(x, x + logits.cols, [](float v) { return std::isfinite(v); })) continue;
    fail_with(
        "the weights are damaged or the training that made them diverged: copy or train the model again",
        "{}: the model's output is not a finite number", model.state().origin.string());
  }
}

}  // namespace

Inference::Inference(const std::filesystem::path& folder, const std::string& task, PipelineOptions options)
    : model_(load(folder, task)), tokenizer_(Tokenizer::from_pretrained(folder)), options_(options) {
  if (options_.batch_size < 1)
    fail("PipelineOptions::batch_size is {}; at least 1 was expected", options_.batch_size);
  use_precision(model_, saved_precision(folder).bf16);
  if (options_.max_seq_length <= 0)
    options_.max_seq_length = static_cast<int>(saved_max_seq_length(folder, model_, *tokenizer_));
}

Encoding Inference::encode(const std::string& text, const std::string* pair) const {
  EncodeOptions o;
  o.ids_only = true;
  o.truncation = Truncation::longest_first;
  o.max_length = options_.max_seq_length;
  Encoding e = pair ? tokenizer_->encode_pair(text, *pair, o) : tokenizer_->encode(text, o);
  truncated_ += e.num_truncated > 0;
  return e;
}

void Inference::run(const data::RaggedBatch& batch,
                    const std::function<void(engine::Tensor logits)>& use) const {
  check_batch(batch, model_);
  models::State& state = model_.state();
  std::unique_ptr<StepMemory> memory = borrow();
  memory->prepare(state, nullptr, batch, false);
  memory->arena().reset();
  engine::Tape tape(engine::cpu_kernels(), memory->arena(), state.parameters, {.bf16 = state.bf16});
  const engine::Tensor logits = models::forward_logits(tape, state.network, batch)->data;
  check_finite(logits, model_);
  use(logits);
  give_back(std::move(memory));
}

std::unique_ptr<StepMemory> Inference::borrow() const {
  const std::lock_guard lock(mutex_);
  if (free_.empty()) return std::make_unique<StepMemory>();
  auto memory = std::move(free_.back());
  free_.pop_back();
  return memory;
}

void Inference::give_back(std::unique_ptr<StepMemory> memory) const {
  const std::lock_guard lock(mutex_);
  free_.push_back(std::move(memory));
}

ThreadsOfACall::ThreadsOfACall(int n) : before_(n > 0 ? num_threads() : 0) {
  if (n > 0) set_num_threads(n);
}

ThreadsOfACall::~ThreadsOfACall() {
  if (before_ > 0) set_num_threads(before_);
}

}  // namespace graft::train
