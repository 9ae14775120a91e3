// What a run leaves behind: the log in memory, checkpoints, the output folder.
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
  // The evaluation of this very step if there was one, else a new one.
  LogEntry evaluation_once(int64_t step, const std::function<LogEntry()>& evaluate);
  TrainResult result(bool interrupted) const;
  Json state() const;                                           // trainer_state.json
  std::vector<int64_t>& checkpoints() { return checkpoints_; }  // steps that this run saved and kept

 private:
  void emit(LogEntry entry, int64_t step);

  Trainer::Parts& parts_;
  StepPlan plan_;
  std::chrono::steady_clock::time_point start_, last_report_;
  int64_t step_ = 0, tokens_ = 0, examples_ = 0, logged_steps_ = 0, epoch_steps_ = 0, evaluated_at_ = -1;
  double epoch_ = 0, window_loss_ = 0, total_loss_ = 0, epoch_loss_ = 0;
  LogEntry last_metrics_;
  Json history_ = Json::array();
  std::vector<int64_t> checkpoints_;
};

// Makes output_dir and tries to write into it: what cannot work fails before the first step.
void prepare_output(const std::filesystem::path& output_dir);
void save_model(const Trainer::Parts& parts, const std::filesystem::path& folder);
// Warns of checkpoints in output_dir that this run has not written; removes what an interrupted save left.
void look_at_earlier_checkpoints(const std::filesystem::path& output_dir);
// output_dir/checkpoint-N, made whole under another name and then renamed; older ones of this run go by
// save_total_limit.
void save_checkpoint(const Trainer::Parts& parts, RunLog& log, int64_t step);
// The model, the log and all_results.json in output_dir.
void save_output(const Trainer::Parts& parts, const RunLog& log, const TrainResult& result);
// Puts metrics that came after training (a test set's) into all_results.json as well.
void add_results(const std::filesystem::path& output_dir, const LogEntry& metrics);

}  // namespace graft::train
