#include "train/checkpoint_saver.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/stopwatch.h"
#include "train/arguments.h"
#include "train/run_record.h"
#include "train/saved_state.h"

namespace graft::train {
namespace fs = std::filesystem;

namespace {

// Below this a write takes less than what a thread and a copy cost.
constexpr uint64_t kWorthACopy = uint64_t{64} << 20;

uint64_t size_of_folder(const fs::path& folder) {
  uint64_t sum = 0;
  for (const fs::path& path : list_folder(folder)) {
    std::error_code ignored;
    const uint64_t size = is_folder(path) ? size_of_folder(path) : fs::file_size(path, ignored);
    if (!ignored) sum += size;
  }
  return sum;
}

}  // namespace

uint64_t copy_for_saves(const Trainer::Parts& parts, TrainState& state) {
  const TrainingArguments& a = parts.arguments;
  const bool saves = a.save_strategy != "no" || a.enable_jit_checkpoint || tracks_best(a);
  if (!saves || parts.collective->rank() != 0 || !a.background_save.value_or(true)) return 0;
  CheckpointFiles files(parts, Json::object());
  if (!a.save_only_model) files.add_run(state);
  const uint64_t bytes = files.bytes();
  return a.background_save || bytes >= kWorthACopy ? bytes : 0;
}

CheckpointSaver::CheckpointSaver(Trainer::Parts& parts, RunLog& log, const StepPlan& plan)
    : parts_(parts), log_(log), plan_(plan), background_(parts.memory.needs().copies > 0) {
  if (!background_) return;
  memory_.reserve(parts.memory.needs().copies);
  run_ = run_record(parts);
}

CheckpointSaver::~CheckpointSaver() {
  if (thread_.joinable()) thread_.join();
}

bool CheckpointSaver::has_saved(int64_t step) const {
  const std::vector<int64_t>& saved = log_.state().checkpoints;
  return std::find(saved.begin(), saved.end(), step) != saved.end();
}

void CheckpointSaver::save_interrupted() {
  const TrainingArguments& a = parts_.arguments;
  const int64_t step = log_.state().step;
  const bool wanted = a.save_strategy != "no" || a.enable_jit_checkpoint;
  if (wanted && step > 0 && !has_saved(step)) save(true, false);
}

void CheckpointSaver::save(bool checkpoint, bool best) {
  if (!checkpoint && !best) return;
  const Stopwatch whole;
  finish();
  const double waited = 1000 * whole.seconds();
  check_weights(parts_.model.state(), log_.state().step);
  TrainState& state = log_.state();
  const TrainingArguments& a = parts_.arguments;
  if (checkpoint && !has_saved(state.step)) state.checkpoints.push_back(state.step);
  if (parts_.collective->rank() != 0) return parts_.collective->barrier();
  if (run_.is_null()) run_ = run_record(parts_);
  Write what{checkpoint,
             best,
             checkpoint && !a.save_only_model,
             best && a.save_strategy == "best" && !a.save_only_model,
             state.step,
             state.checkpoints};
  CheckpointFiles files(parts_, to_json(state, plan_, a));
  if (what.run_in_checkpoint || what.run_in_best) files.add_run(state);
  if (background_) {
    const uint64_t bytes = files.copy_tensors(memory_);
    log_info("{}: copied {} in {:.0f} ms{}; it is written while training goes on",
             checkpoint ? checkpoint_name(state.step) : "best", format_bytes(bytes),
             1000 * whole.seconds() - waited,
             waited < 1 ? "" : fmt::format(" after {:.0f} ms for the end of the last save", waited));
    writing_ = std::move(what);
    ended_ = false;
    thread_ = std::thread([this, files = std::move(files)] {
      try {
        write(files, *writing_);
      } catch (...) {
        error_ = std::current_exception();
      }
      ended_ = true;
    });
  } else {
    write(files, what);
    writing_ = std::move(what);
    ended_ = true;
    poll();
  }
  parts_.collective->barrier();
}

void CheckpointSaver::write_folder(const CheckpointFiles& files, const std::string& name,
                                   bool with_run) const {
  const fs::path output = parts_.arguments.output_dir, temporary = output / ("tmp-" + name);
  remove_tree(temporary);
  try {
    files.write(temporary, run_, with_run);
    replace_folder(temporary, output / name);
  } catch (...) {
    std::error_code ignored;  // of a disk that fails, too; the next run removes what is left
    fs::remove_all(temporary, ignored);
    throw;
  }
}

// best/ first: a checkpoint refers to it.
void CheckpointSaver::write(const CheckpointFiles& files, Write& write) const {
  if (write.best) write_folder(files, "best", write.run_in_best);
  if (!write.checkpoint) return;
  write_folder(files, checkpoint_name(write.step), write.run_in_checkpoint);
  rotate(write.kept);
}

// Deletes the oldest checkpoints of this run that exceed a limit. The newest stays.
void CheckpointSaver::rotate(std::vector<int64_t>& kept) const {
  const fs::path output = parts_.arguments.output_dir;
  const auto& limit = parts_.arguments.save_total_limit;
  const auto& bytes = parts_.arguments.save_total_bytes;
  const auto exceeds = [&] {
    if (limit && static_cast<int64_t>(kept.size()) > *limit) return true;
    if (!bytes) return false;
    uint64_t sum = 0;
    for (const int64_t step : kept) sum += size_of_folder(output / checkpoint_name(step));
    return sum > static_cast<uint64_t>(*bytes);
  };
  std::erase_if(kept, [&](int64_t step) { return !path_exists(output / checkpoint_name(step)); });
  while (kept.size() > 1 && exceeds()) {
    // Renamed first, so that after a crash the remains are no checkpoint.
    const fs::path old = output / checkpoint_name(kept.front()),
                   gone = output / ("tmp-" + checkpoint_name(kept.front()));
    move_path(old, gone);
    remove_tree(gone);
    kept.erase(kept.begin());
  }
}

void CheckpointSaver::poll() {
  if (!writing_ || !ended_) return;
  if (thread_.joinable()) thread_.join();
  const Write done = *std::exchange(writing_, std::nullopt);
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  log_.state().checkpoints = done.kept;
  const fs::path output = parts_.arguments.output_dir;
  if (done.best) log_.saved(output / "best", done.step);
  if (done.checkpoint) log_.saved(output / checkpoint_name(done.step), done.step);
}

void CheckpointSaver::finish() {
  if (thread_.joinable()) thread_.join();
  poll();
}

}  // namespace graft::train
