// The output of a run: the log, checkpoints, the output folder.
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "base/json.h"
#include "base/stopwatch.h"
#include "train/memory_metrics.h"
#include "train/output_lock.h"
#include "train/parts.h"
#include "train/plan.h"
#include "train/reports.h"
#include "train/saved_state.h"
#include "train/train_state.h"

namespace graft::train {

// What one step adds to the log.
struct StepReport {
  double loss = 0, learning_rate = 0, grad_norm = 0;
  int64_t tokens = 0, input_tokens = 0, examples = 0;
  int64_t skipped_steps = 0;  // so far
  bool epoch_ends = false;
};

// Turns steps into log entries and progress for the observer. What lasts over steps is in the state.
class RunLog {
 public:
  RunLog(Trainer::Parts& parts, const StepPlan& plan, TrainState& state, const Observer& observer);
  void begin_epoch() { state_.epoch_loss = 0, state_.epoch_steps = 0; }
  // Call after state.step and state.epoch have moved.
  void step(const StepReport& report);
  // Returns the metrics with the epoch; none if the run was interrupted: those of a part of the data are
  // dropped.
  LogEntry evaluation(LogEntry metrics);
  void saved(const std::filesystem::path& folder, int64_t step) const;
  // Logs the best evaluation if it is not the last: its model is not the one that is saved.
  void explain_best() const;
  TrainResult result() const;
  Json trainer_state() const { return to_json(state_, plan_, parts_.arguments); }
  TrainState& state() { return state_; }

 private:
  void emit(LogEntry entry, bool of_training);
  // Warns once if all predictions of the last evaluation are one label.
  void explain_collapse();
  double tokens_per_second() const;  // of the inputs
  std::string place_of_best(int64_t step, const std::string& metric) const;

  Trainer::Parts& parts_;
  StepPlan plan_;
  TrainState& state_;
  const Observer& observer_;
  const Stopwatch stopwatch_;
  const int64_t first_step_;
  int64_t tokens_ = 0, input_tokens_ = 0, examples_ = 0;  // since the log was made
  bool explained_collapse_ = false;
  int64_t skipped_steps_ = 0;
  std::unique_ptr<MemoryStage> memory_;
  std::optional<Reports> reports_;  // of rank 0
};

// Throws Error for a folder that holds files, unless it may be overwritten.
void check_free_folder(const std::filesystem::path& output_dir, bool overwrite);
// Creates output_dir and writes a test file, so that an unwritable folder fails before the first step.
void prepare_output(const std::filesystem::path& output_dir);
// The same for a run, of which rank 0 alone writes and holds the lock. Looks at earlier checkpoints.
std::unique_ptr<OutputLock> prepare_output(const Trainer::Parts& parts);
// Warns of checkpoints of an earlier run in output_dir, unless the run continues it, and removes the remains
// of an interrupted save.
void look_at_earlier_checkpoints(const std::filesystem::path& output_dir, bool resumes);
// The model, the log and all_results.json in output_dir. Rank 0 writes and the others wait.
void save_output(const Trainer::Parts& parts, const RunLog& log, const TrainResult& result);
// Adds metrics computed after training (of a test set) to all_results.json.
void add_results(const std::filesystem::path& output_dir, const LogEntry& metrics);

}  // namespace graft::train
