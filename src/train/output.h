// The output of a run: the log, checkpoints, the output folder.
#pragma once
#include <chrono>
#include <filesystem>
#include <functional>
#include <vector>

#include "base/json.h"
#include "train/parts.h"
#include "train/plan.h"

namespace graft::train {

// Turns steps into log entries and progress, and keeps the history for trainer_state.json.
class RunLog {
 public:
  RunLog(Trainer::Parts& parts, const StepPlan& plan);
  void begin_epoch() { epoch_loss_ = 0, epoch_steps_ = 0; }
  void step(int64_t step, double epoch, double loss, double rate, double grad_norm, int64_t tokens,
            int64_t examples, bool epoch_ends);
  void evaluation(LogEntry metrics, int64_t step);
  // The evaluation of this step if it was done already, else a new one.
  LogEntry evaluation_once(int64_t step, const std::function<LogEntry()>& evaluate);
  TrainResult result(bool interrupted) const;
  Json state() const;                                           // trainer_state.json
  std::vector<int64_t>& checkpoints() { return checkpoints_; }  // steps that this run saved and kept

 private:
  void emit(const LogEntry& entry, int64_t step);

  Trainer::Parts& parts_;
  StepPlan plan_;
  std::chrono::steady_clock::time_point start_, last_report_;
  int64_t step_ = 0, tokens_ = 0, examples_ = 0, logged_steps_ = 0, epoch_steps_ = 0, evaluated_at_ = -1;
  double epoch_ = 0, window_loss_ = 0, total_loss_ = 0, epoch_loss_ = 0;
  LogEntry last_metrics_;
  Json history_ = Json::array();
  std::vector<int64_t> checkpoints_;
};

// Creates output_dir and writes a test file, so that an unwritable folder fails before the first step.
void prepare_output(const std::filesystem::path& output_dir);
void save_model(const Trainer::Parts& parts, const std::filesystem::path& folder);
// Warns of checkpoints of an earlier run in output_dir and removes the remains of an interrupted save.
void look_at_earlier_checkpoints(const std::filesystem::path& output_dir);
// Writes output_dir/checkpoint-N under a temporary name and renames it. save_total_limit removes older
// checkpoints of this run.
void save_checkpoint(const Trainer::Parts& parts, RunLog& log, int64_t step);
// The model, the log and all_results.json in output_dir.
void save_output(const Trainer::Parts& parts, const RunLog& log, const TrainResult& result);
// Adds metrics computed after training (of a test set) to all_results.json.
void add_results(const std::filesystem::path& output_dir, const LogEntry& metrics);

}  // namespace graft::train
