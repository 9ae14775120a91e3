// Runs that stop and go on from disk.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "base/log.h"
#include "train/tiny_run.h"

namespace graft::test {

// What f() logs, a line each.
inline std::string log_of_run(const std::function<void()>& f) {
  std::string log;
  const LogSink former = set_log_sink([&](LogLevel, const std::string& text) { log += text + "\n"; });
  try {
    f();
  } catch (...) {
    set_log_sink(former);
    throw;
  }
  set_log_sink(former);
  return log;
}

// 19 examples in windows of 2 x 4: three steps an epoch, the last one partial; ten steps.
inline TrainingArguments ten_steps(const TinyRun& run, const std::string& out) {
  TrainingArguments a = run.arguments();
  a.output_dir = (run / out).string();
  a.max_steps = 10;
  a.per_device_train_batch_size = 4;
  a.gradient_accumulation_steps = 2;
  a.weight_decay = 0.01;
  a.warmup_steps = 2;
  a.logging_strategy = "steps";
  a.logging_steps = 4;
  return a;
}

// That run with dropout, and its folders.
class ResumeRun {
 public:
  TrainingArguments arguments(const std::string& out) const {
    TrainingArguments a = ten_steps(run_, out);
    a.save_strategy = "steps";
    a.save_steps = 1000;
    return a;
  }
  Trainer trainer(const TrainingArguments& a, int rows = 19, uint64_t seed = 1) const {
    const Dataset data = Dataset::from_file(run_.single_csv("train.csv", rows, seed)),
                  eval = Dataset::from_file(run_.single_csv("eval.csv", 11, 2));
    return {run_.model("sequence-classification", {"blue", "green", "red"}, 0.1, "bert", 7),
            a,
            {data, eval, run_.tokenizer()}};
  }
  Trainer masked_lm(TrainingArguments a) const {
    a.line_by_line = true;
    return {run_.model("masked-lm", {}, 0.1), a,
            TaskData::text({run_.text("train.txt", 19, 1)}, {}, run_.tokenizer())};
  }
  std::filesystem::path operator/(const std::string& name) const { return run_ / name; }
  const TinyRun& run() const { return run_; }

 private:
  TinyRun run_;
};

// An observer that stops the run after this step.
inline Observer stop_after(int64_t last) {
  auto step = std::make_shared<int64_t>(0);
  Observer observer;
  observer.on_step = [step](const TrainProgress& progress) { *step = progress.step; };
  observer.should_stop = [step, last] { return *step >= last; };
  return observer;
}

}  // namespace graft::test
