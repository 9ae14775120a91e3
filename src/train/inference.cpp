#include "train/inference.h"

#include <algorithm>

#include "base/error.h"
#include "base/memory.h"
#include "base/threads.h"
#include "models/adapter_folder.h"
#include "tasks/vocabulary.h"
#include "train/argument_values.h"
#include "train/plan.h"
#include "train/trained_model.h"

namespace graft::train {

TextError::TextError(size_t index, size_t count, const Error& cause)
    : Error(count == 1 ? cause.what() : fmt::format("text {} of {}: {}", index + 1, count, cause.what()),
            cause.hint()),
      index_(index),
      reason_(cause.what()) {}

namespace {

// Empty where the folder names its base itself.
std::filesystem::path base_of(const Model& model) {
  const models::State& state = model.state();
  return state.base ? state.base->state().origin : std::filesystem::path();
}

}  // namespace

Inference::Inference(const std::filesystem::path& folder, const std::string& task, PipelineOptions options)
    : Inference(load_trained(folder, task, options.load_lang_adapter), folder, options) {}

Inference::Inference(Model model, const std::filesystem::path& folder, PipelineOptions options,
                     std::shared_ptr<PassMemories> memories)
    : model_(std::move(model)),
      tokenizer_(Tokenizer::from_pretrained(models::tokenizer_folder(folder, base_of(model_)))),
      options_(options),
      memories_(std::move(memories)) {
  const Range batch{1, 1e6}, threads{0, 1e4}, length{0, 1e9};
  check_range("batch_size", options.batch_size, batch);
  check_range("num_threads", options.num_threads, threads);
  check_range("max_seq_length", options.max_seq_length, length);
  const TrainingArguments saved = saved_arguments(folder);
  precision_ = inference_precision(options.bf16, saved);
  use_precision(model_, precision_.bf16);
  options_.max_seq_length =
      static_cast<int>(inference_length(options.max_seq_length, saved, model_, *tokenizer_));
}

Encoding Inference::encode(const std::vector<std::string>& texts, const std::vector<std::string>& pairs,
                           size_t i) const {
  EncodeOptions o;
  o.ids_only = true;
  o.truncation = Truncation::longest_first;
  o.max_length = options_.max_seq_length;
  Encoding e =
      pairs.empty() ? tokenizer_->encode(texts[i], o) : tokenizer_->encode_pair(texts[i], pairs[i], o);
  check(e, i, texts.size());
  return e;
}

void Inference::check(const Encoding& e, size_t i, size_t count) const {
  try {
    if (e.input_ids.empty()) {
      fail_with(
          "the tokenizer adds no special tokens, so that an empty text leaves nothing to read: remove it",
          "the text has no token");
    }
    tasks::check_ids(e.input_ids.data(), e.input_ids.size(), model_, *tokenizer_, "");
    truncated_ += e.num_truncated > 0;
  } catch (const Error& error) {
    throw TextError(i, count, error);
  }
}

void Inference::run(const data::RaggedBatch& batch,
                    const std::function<void(engine::Tensor logits)>& use) const {
  check_batch(batch, model_);
  models::State& state = model_.state();
  consider_packing(batch.all_rows());
  std::unique_ptr<StepMemory> memory = borrow();
  memory->prepare(state, nullptr, batch, false);
  use(predict_batch(state, batch, *memory));
  give_back(std::move(memory));
}

// Packing reads and writes every weight once and takes its memory; a product of packed weights is about an
// eighth faster. After some thousand rows it has paid, measured with 22 M and 110 M weights.
void Inference::consider_packing(int64_t rows) const {
  constexpr int64_t kRowsThatPay = 4096, kShareOfMemory = 4;
  models::State& state = model_.state();
  const int64_t before = rows_.fetch_add(rows);
  if (before >= kRowsThatPay || before + rows < kRowsThatPay) return;
  const uint64_t weights = static_cast<uint64_t>(state.parameters.num_parameters()) * sizeof(float);
  state.packed_fp32 = weights < tightest_memory_limit().left() / kShareOfMemory;
}

double Inference::loss(const tasks::Task& task, const data::RaggedBatch& batch) const {
  check_batch(batch, model_);
  models::State& state = model_.state();
  std::unique_ptr<StepMemory> memory = borrow();
  memory->prepare(state, &task, batch, false);
  double total = 0;
  evaluate_batch(state, task, batch, nullptr, total, *memory);
  give_back(std::move(memory));
  return total;
}

std::unique_ptr<StepMemory> Inference::borrow() const {
  const std::lock_guard lock(memories_->mutex);
  if (memories_->free.empty()) return std::make_unique<StepMemory>(model_.state().parameters.device());
  auto memory = std::move(memories_->free.back());
  memories_->free.pop_back();
  return memory;
}

void Inference::give_back(std::unique_ptr<StepMemory> memory) const {
  const std::lock_guard lock(memories_->mutex);
  memories_->free.push_back(std::move(memory));
}

ThreadsOfACall::ThreadsOfACall(int n) : before_(n > 0 ? num_threads() : 0) {
  if (n > 0) set_num_threads(n);
}

ThreadsOfACall::~ThreadsOfACall() {
  if (before_ > 0) set_num_threads(before_);
}

}  // namespace graft::train
