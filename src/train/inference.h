// Inference with a loaded folder, shared by the pipelines. Thread-safe; results do not depend on other
// threads, bit for bit. It holds no training memory.
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

// An error in one text of a call.
class TextError : public Error {
 public:
  TextError(size_t index, size_t count, const Error& cause);
  size_t index() const { return index_; }                // of the text in its call
  const std::string& reason() const { return reason_; }  // without the index

 private:
  size_t index_;
  std::string reason_;
};

// The memory of passes, of which each call borrows one. Models that take turns share it.
struct PassMemories {
  std::mutex mutex;
  std::vector<std::unique_ptr<StepMemory>> free;  // reused by later calls
};

class Inference {
 public:
  // Throws Error if config.json names the head of another task, or if the head is missing.
  Inference(const std::filesystem::path& folder, const std::string& task, PipelineOptions options);

  // The same with a model that was loaded from the folder, over a base in memory or alone.
  Inference(Model model, const std::filesystem::path& folder, PipelineOptions options,
            std::shared_ptr<PassMemories> memories = std::make_shared<PassMemories>());

  const Model& model() const { return model_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const PipelineOptions& options() const { return options_; }
  int64_t num_truncated() const { return truncated_; }
  const Precision& precision() const { return precision_; }

  // The ids of texts[i], or of the pair if `pairs` is not empty, truncated at max_seq_length. Counts
  // truncated texts. Throws TextError for a text without tokens and for an id without a row in the embedding.
  Encoding encode(const std::vector<std::string>& texts, const std::vector<std::string>& pairs,
                  size_t i) const;
  // Counts a truncated text and throws as encode() does, for text i of a call with `count` texts.
  void check(const Encoding& encoding, size_t i, size_t count) const;
  // Calls `use` with the logits of the batch, which are valid during the call. Throws Error if a logit is not
  // finite.
  void run(const data::RaggedBatch& batch, const std::function<void(engine::Tensor logits)>& use) const;
  // The sum of the terms of a task's loss.
  double loss(const tasks::Task& task, const data::RaggedBatch& batch) const;

 private:
  // Packs fp32 weights from here on if that pays and fits. No result changes.
  void consider_packing(int64_t rows) const;
  std::unique_ptr<StepMemory> borrow() const;
  void give_back(std::unique_ptr<StepMemory> memory) const;

  Model model_;
  std::shared_ptr<Tokenizer> tokenizer_;
  PipelineOptions options_;
  Precision precision_;
  mutable std::atomic<int64_t> truncated_ = 0;
  mutable std::atomic<int64_t> rows_ = 0;  // that were computed
  std::shared_ptr<PassMemories> memories_;
};

// Sets the number of threads of the calling thread (0 = unchanged). The destructor restores it.
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
