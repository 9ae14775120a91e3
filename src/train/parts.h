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
  std::unique_ptr<tasks::Features> train, eval;  // null where there is no such data
  data::TextBlocks blocks;                       // what masked-lm features look into
  train::StepMemory memory;
  std::function<void(const LogEntry&)> on_log = [](const LogEntry&) {};
  std::function<void(const TrainProgress&)> on_progress = [](const TrainProgress&) {};
  std::atomic<bool> stop = false;  // asked for; the train() or evaluate() that obeys it clears it
  bool line_by_line = false;       // masked-lm: lines are sequences of their own
};

namespace train {

// A request to stop holds for one train() or evaluate(): gone when this is.
struct StopRequest {
  explicit StopRequest(Trainer::Parts& p) : parts(p) {}
  ~StopRequest() { parts.stop = false; }
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;
  Trainer::Parts& parts;
};

}  // namespace train

}  // namespace graft
