// A loaded folder that answers: what the pipelines share. Many threads may ask at once, each gets the bits
// that it would get alone; no training memory is held.
#pragma once
#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "graft/model.h"
#include "graft/pipeline.h"
#include "graft/tokenizer.h"
#include "train/runner.h"

namespace graft::train {

class Inference {
 public:
  // Error where the folder's config.json names another task's head than `task`, or its head is missing.
  Inference(const std::filesystem::path& folder, const std::string& task, PipelineOptions options);

  const Model& model() const { return model_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const PipelineOptions& options() const { return options_; }
  int64_t num_truncated() const { return truncated_; }

  // The ids of a text, or of a pair where `pair` is given, cut at max_seq_length (and counted).
  Encoding encode(const std::string& text, const std::string* pair = nullptr) const;
  // Hands the batch's logits to `use`; they are gone afterwards. Error where a row is not finite.
  void run(const data::RaggedBatch& batch, const std::function<void(engine::Tensor logits)>& use) const;

 private:
  std::unique_ptr<StepMemory> borrow() const;
  void give_back(std::unique_ptr<StepMemory> memory) const;

  Model model_;
  std::shared_ptr<Tokenizer> tokenizer_;
  PipelineOptions options_;
  mutable std::atomic<int64_t> truncated_ = 0;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<StepMemory>> free_;  // memory of calls that ended, for calls that come
};

// Sets the calling thread's number of threads (0 = leave it); gives it back what it had, also when an Error
// leaves.
class ThreadsOfACall {
 public:
  explicit ThreadsOfACall(int n);
  ~ThreadsOfACall();
  ThreadsOfACall(const ThreadsOfACall&) = delete;
  ThreadsOfACall& operator=(const ThreadsOfACall&) = delete;

 private:
  int before_;
};

}  // namespace graft::train
