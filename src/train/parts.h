// What a Trainer holds.
#pragma once
#include <atomic>
#include <memory>
#include <string>

#include "graft/trainer.h"
#include "tasks/masked_lm.h"
#include "tasks/sequence_classification.h"
#include "train/runner.h"

namespace graft {

struct Trainer::Parts {
  explicit Parts(Model m) : model(std::move(m)) {}
  Model model;
  TrainingArguments arguments;
  std::shared_ptr<Tokenizer> tokenizer;
  std::unique_ptr<tasks::Task> task;
  std::unique_ptr<tasks::Features> train, eval;  // null without such data
  data::TextBlocks blocks;                       // owns the ids of the masked-lm features
  train::StepMemory memory;
  std::function<void(const LogEntry&)> on_log = [](const LogEntry&) {};
  std::function<void(const TrainProgress&)> on_progress = [](const TrainProgress&) {};
  std::atomic<bool> stop = false;  // requested; cleared when train() or evaluate() ends
  bool line_by_line = false;       // masked-lm: each line is a sequence
};

namespace train {

// Clears the stop request at the end of a train() or evaluate().
struct StopRequest {
  explicit StopRequest(Trainer::Parts& p) : parts(p) {}
  ~StopRequest() { parts.stop = false; }
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;
  Trainer::Parts& parts;
};

}  // namespace train

}  // namespace graft
