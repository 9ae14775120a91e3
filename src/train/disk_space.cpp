#include "train/disk_space.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/memory.h"
#include "train/arguments.h"
#include "train/checkpoint.h"

namespace graft::train {
namespace fs = std::filesystem;

namespace {

// Bytes that this process may still write; -1 where the file system does not tell.
int64_t free_space(const fs::path& folder) {
  struct statvfs info {};
  if (::statvfs(folder.c_str(), &info) != 0 || info.f_blocks == 0) return -1;
  return static_cast<int64_t>(info.f_bavail * info.f_frsize);
}

// The checkpoints that the strategy makes in the steps that are left.
int64_t count_saves(const TrainingArguments& a, const StepPlan& plan, int64_t done) {
  const int64_t left = std::max<int64_t>(0, plan.total_steps - done);
  if (a.save_strategy == "epoch") return (left + plan.steps_per_epoch - 1) / plan.steps_per_epoch;
  if (a.save_strategy != "steps" || left == 0) return 0;
  return plan.total_steps / plan.save_steps - done / plan.save_steps +
         (plan.total_steps % plan.save_steps != 0 ? 1 : 0);
}

// The most checkpoints that lie in the folder at once: the newest is written before the oldest is deleted.
int64_t most_at_once(const TrainingArguments& a, int64_t there, int64_t saves, uint64_t bytes) {
  int64_t most = there + saves;
  if (a.save_total_limit) most = std::min(most, std::max<int64_t>(1, *a.save_total_limit) + 1);
  if (a.save_total_bytes && bytes > 0) {
    const auto fit = static_cast<int64_t>(static_cast<uint64_t>(*a.save_total_bytes) / bytes);
    most = std::min(most, std::max<int64_t>(1, fit) + 1);
  }
  return std::max(most, there + std::min<int64_t>(saves, 1));
}

}  // namespace

DiskNeeds disk_needs(const Trainer::Parts& parts, TrainState& state, const StepPlan& plan) {
  const TrainingArguments& a = parts.arguments;
  CheckpointFiles files(parts, Json::object());
  files.add_run(state);
  DiskNeeds needs;
  needs.model = files.stored_bytes(false);
  needs.saves = count_saves(a, plan, state.step);
  if (needs.saves > 0) needs.checkpoint = files.stored_bytes(!a.save_only_model);
  if (tracks_best(a)) needs.best = files.stored_bytes(a.save_strategy == "best" && !a.save_only_model);
  const auto there = static_cast<int64_t>(state.checkpoints.size());
  needs.at_once = most_at_once(a, there, needs.saves, needs.checkpoint) - there;
  // best/ is replaced by one of its size, and a checkpoint by the next where a limit deletes it.
  const bool has_best = path_exists(fs::path(a.output_dir) / "best");
  const bool deletes = there > 0 && (a.save_total_limit || a.save_total_bytes);
  const uint64_t best = has_best ? 0 : needs.best;
  needs.least = std::max(needs.checkpoint + best, (deletes ? 0 : needs.checkpoint) + best + needs.model);
  needs.all =
      static_cast<uint64_t>(needs.at_once) * needs.checkpoint + best + std::max(needs.best, needs.model);
  return needs;
}

void check_disk_space(const Trainer::Parts& parts, TrainState& state, const StepPlan& plan, int64_t free) {
  const TrainingArguments& a = parts.arguments;
  if (parts.collective->rank() != 0 || state.step >= plan.total_steps) return;
  if (free < 0) free = free_space(a.output_dir);
  if (free < 0) return;
  const DiskNeeds needs = disk_needs(parts, state, plan);
  std::string what = fmt::format("the model ({})", format_bytes(needs.model));
  if (needs.best > 0) what = fmt::format("best/ ({}) and {}", format_bytes(needs.best), what);
  if (needs.checkpoint > 0)
    what = fmt::format("{} ({}){} {}", needs.saves == 1 ? "a checkpoint" : "the first checkpoint",
                       format_bytes(needs.checkpoint), needs.best > 0 ? "," : " and", what);
  const auto space = static_cast<uint64_t>(free);
  if (space < needs.least)
    fail_with(fmt::format("free some space, or choose an --output_dir on another disk{}",
                          needs.checkpoint > 0 ? "; --save_strategy no writes no checkpoints" : ""),
              "{}: the disk has {} free, and the run needs {}: {}; nothing was trained", a.output_dir,
              format_bytes(space), format_bytes(needs.least), what);
  if (space >= needs.all + needs.all / 20) return;  // tokenizer, logs and what the file system needs
  const bool several = needs.at_once > 1;
  log_warning("{}: the disk has {} free, and the run may need {}: {}{}{}", a.output_dir, format_bytes(space),
              format_bytes(needs.all), what,
              several ? fmt::format("; it keeps up to {} checkpoints", needs.at_once) : "",
              several && a.save_total_limit.value_or(2) > 1 ? ": --save_total_limit 1 keeps the newest" : "");
}

}  // namespace graft::train
