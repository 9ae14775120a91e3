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

#include "graft/error.h"
#include "graft/model.h"
#include "graft/pipeline.h"
#include "graft/tokenizer.h"
#include "train/runner.h"
#include "train/saved_arguments.h"

namespace graft::train {

// What is wrong with one text of many.
class TextError : public Error {
 public:
  TextError(size_t index, size_t count, const Error& cause);
  size_t index() const { return index_; }                // of the text in its call
  const std::string& reason() const { return reason_; }  // without the index

 private:
  size_t index_;
  std::string reason_;
};

class Inference {
 public:
  // Error where the folder's config.json names another task's head than `task`, or its head is missing.
  Inference(const std::filesystem::path& folder, const std::string& task, PipelineOptions options);

  const Model& model() const { return model_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const PipelineOptions& options() const { return options_; }
  int64_t num_truncated() const { return truncated_; }
  const Precision& precision() const { return precision_; }

  // The ids of texts[i], or of a pair where `pairs` is not empty, cut at max_seq_length (and counted).
  // TextError where there are none, and for an id without a row in the embedding.
  Encoding encode(const std::vector<std::string>& texts, const std::vector<std::string>& pairs,
                  size_t i) const;
  // Hands the batch's logits to `use`; they are gone afterwards. Error where a row is not finite.
  void run(const data::RaggedBatch& batch, const std::function<void(engine::Tensor logits)>& use) const;

 private:
  std::unique_ptr<StepMemory> borrow() const;
  void give_back(std::unique_ptr<StepMemory> memory) const;

  Model model_;
  std::shared_ptr<Tokenizer> tokenizer_;
  PipelineOptions options_;
  Precision precision_;
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
