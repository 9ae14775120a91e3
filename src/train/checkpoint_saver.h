// Writes the checkpoints of a run, on this thread or in the background, and deletes old ones.
#pragma once
#include <atomic>
#include <exception>
#include <optional>
#include <thread>

#include "train/checkpoint.h"
#include "train/output.h"

namespace graft::train {

// Rank 0 writes and the others wait. A folder is written under a temporary name, synced with its files, and
// renamed; only then an older one is deleted. So at every instant the disk has a complete checkpoint once
// there was one.
class CheckpointSaver {
 public:
  CheckpointSaver(Trainer::Parts& parts, RunLog& log, const StepPlan& plan);
  // Waits for a write in progress. An error of it is lost: finish() first.
  ~CheckpointSaver();
  CheckpointSaver(const CheckpointSaver&) = delete;
  CheckpointSaver& operator=(const CheckpointSaver&) = delete;

  // Writes checkpoint-N of the state at hand, best/, or both. The parameters must be up to date
  // (Optimizer::flush). In the background the folders are complete when poll() has reported them.
  void save(bool checkpoint, bool best);
  // checkpoint-N of a run that is interrupted, unless it was saved already or none is wanted.
  void save_interrupted();
  // Reports a write that has ended: throws its error, calls on_save. Call between two steps.
  void poll();
  // Waits for the write in progress, then poll().
  void finish();

 private:
  struct Write {
    bool checkpoint = false, best = false;
    bool run_in_checkpoint = false, run_in_best = false;  // the optimizer's state too
    int64_t step = 0;
    std::vector<int64_t> kept;  // the run's checkpoints; afterwards those that rotation left
  };
  bool has_saved(int64_t step) const;
  void write(const CheckpointFiles& files, Write& write) const;
  void write_folder(const CheckpointFiles& files, const std::string& name, bool with_run) const;
  void rotate(std::vector<int64_t>& kept) const;

  Trainer::Parts& parts_;
  RunLog& log_;
  const StepPlan& plan_;
  Json run_;  // run_record.h; null until it is needed
  const bool background_;
  HostMemory memory_;
  std::thread thread_;
  std::atomic<bool> ended_ = false;  // the thread is done with its write
  std::exception_ptr error_;
  std::optional<Write> writing_;  // what poll() has to report
};

// Bytes of the copy that a background save of this run takes; 0 where it should write on its own thread.
uint64_t copy_for_saves(const Trainer::Parts& parts, TrainState& state);

}  // namespace graft::train
