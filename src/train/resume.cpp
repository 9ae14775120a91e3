#include "train/resume.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "models/saved_model.h"
#include "train/arguments.h"
#include "train/best_model.h"
#include "train/checkpoint.h"
#include "train/manifest.h"
#include "train/run_record.h"

namespace graft::train {
namespace fs = std::filesystem;

namespace {

bool is_any(const std::string& asked) { return asked == "true" || asked == "True" || asked == "last"; }

// The checkpoints of a folder, the newest first; best/ where it is a whole one, after the others.
std::vector<fs::path> candidates(const fs::path& output) {
  std::vector<fs::path> folders;
  if (!is_folder(output)) return folders;
  for (const int64_t step : checkpoints_in(output)) {
    const fs::path folder = output / checkpoint_name(step);
    if (!is_earlier_checkpoint(folder))
      folders.push_back(folder);
    else
      log_info("{} is skipped: it is of an earlier run in this folder", checkpoint_name(step));
  }
  std::reverse(folders.begin(), folders.end());
  if (path_exists(output / "best" / "optimizer.safetensors")) folders.push_back(output / "best");
  return folders;
}

// The checkpoints of this run that are in its output folder.
void own_checkpoints(TrainState& state, const fs::path& folder, const fs::path& output) {
  std::error_code ignored;
  const bool same = fs::equivalent(fs::absolute(folder, ignored).parent_path(), output, ignored);
  std::erase_if(state.checkpoints, [&](int64_t step) {
    return !same || step > state.step || !path_exists(output / checkpoint_name(step));
  });
}

// The steps of a run whose data began anew within it.
int64_t total_steps(const TrainState& state, const StepPlan& plan, const TrainingArguments& a) {
  if (a.max_steps > 0 || state.data_step == 0) return plan.total_steps;
  const double epochs = std::max(0.0, a.num_train_epochs - static_cast<double>(state.data_epoch));
  return state.data_step +
         static_cast<int64_t>(std::ceil(epochs * static_cast<double>(plan.steps_per_epoch)));
}

void check_differences(const Differences& found, const fs::path& folder, const TrainingArguments& a) {
  if (!found.data.empty() && !a.ignore_data_skip)
    fail_with(
        "give the values and the data of that run; with --ignore_data_skip true the run goes on and starts "
        "the data of its epoch anew",
        "{}: the run cannot be continued where it stopped, because its steps would read other examples: {}",
        folder.string(), found.data);
  if (!found.data.empty()) log_warning("resumed with other data or batches: {}", found.data);
  if (!found.course.empty())
    log_warning(
        "resumed with other settings, which hold from this step on: {}; the result is not that of "
        "one run",
        found.course);
  if (found.accumulates)
    log_info(
        "resumed with batches of another size; the examples of a step are the same, so that the "
        "result differs by rounding only");
}

// The newest checkpoint of a run's folder that verifies; none where it has no checkpoints.
std::optional<fs::path> newest_in(const fs::path& run) {
  const std::vector<fs::path> folders = candidates(run);
  for (const fs::path& folder : folders) {
    try {
      verified_manifest(folder);
      return folder;
    } catch (const Error& e) {
      log_warning("{} is skipped: {}", folder.filename().string(), e.what());
    }
  }
  if (folders.empty()) return std::nullopt;
  fail_with(
      "start a new run in another --output_dir; --model takes a damaged checkpoint as the weights of one",
      "{}: none of its {} checkpoints is complete and unchanged", run.string(), folders.size());
}

// A folder that a run cannot be continued from, whatever its files are.
void check_is_checkpoint(const fs::path& folder) {
  if (path_exists(folder / "manifest.json")) return;
  if (path_exists(folder / "config.json") && !path_exists(folder / "optimizer.safetensors"))
    fail_with("name the checkpoint-N of a run, or start a new run with it as --model",
              "--resume_from_checkpoint {}: is a model and no checkpoint: it holds no state of a run",
              folder.string());
}

}  // namespace

std::optional<fs::path> find_resumable(const TrainingArguments& a) {
  if (!resumes(a)) return std::nullopt;
  if (!is_any(a.resume_from_checkpoint)) {
    fs::path folder = a.resume_from_checkpoint;
    if (!folder.has_filename() && folder.has_parent_path()) folder = folder.parent_path();  // "checkpoint-4/"
    if (!is_folder(folder))
      fail_with("name the folder of a checkpoint; true takes the newest one of --output_dir",
                "--resume_from_checkpoint {}: there is no such folder", folder.string());
    // The folder of a run stands for its newest checkpoint.
    if (path_exists(folder / "manifest.json") || candidates(folder).empty()) {
      check_is_checkpoint(folder);
      verified_manifest(folder);
      return folder;
    }
    return newest_in(folder);
  }
  return newest_in(a.output_dir);
}

void resume(Trainer::Parts& parts, TrainState& state, StepPlan& plan) {
  const TrainingArguments& a = parts.arguments;
  if (!resumes(a) || state.step > 0) return;
  const std::optional<fs::path> folder = find_resumable(a);
  if (!folder) return log_info("{} has no checkpoint: the run starts at its beginning", a.output_dir);
  const Json manifest = read_json(*folder / "manifest.json");
  check_same_model(models::model_to_save(parts.model.state()).config, read_json(*folder / "config.json"),
                   *folder);
  check_differences(differences(manifest.at("run"), run_record(parts)), *folder, a);
  restore_run(parts, *folder, state);
  own_checkpoints(state, *folder, a.output_dir);
  provide_best(parts, state, *folder);
  if (a.ignore_data_skip) {
    state.data_step = state.step;
    state.data_epoch = static_cast<int64_t>(std::floor(state.epoch));
  }
  plan.total_steps = total_steps(state, plan, a);
  const auto before = read_json(*folder / "trainer_state.json").at("max_steps").get<int64_t>();
  log_info("resumed from {}: step {} of {}, epoch {:.2f}", folder->string(), state.step, plan.total_steps,
           state.epoch);
  if (state.step > plan.total_steps)
    log_warning("the checkpoint is of step {}, behind the {} steps of this run: its model is kept as it is",
                state.step, plan.total_steps);
  if (before != plan.total_steps)
    log_info("the run has {} steps now, not {}: the learning rate follows the schedule of the new length",
             plan.total_steps, before);
  if (state.step >= plan.total_steps) log_info("the run is finished: there is nothing left to train");
}

}  // namespace graft::train
