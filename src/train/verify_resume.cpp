#include "train/verify_resume.h"

#include <unistd.h>

#include <cstring>

#include "base/error.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/log.h"
#include "hub/state_dict.h"
#include "train/arguments.h"
#include "train/checkpoint.h"

namespace graft::train {
namespace fs = std::filesystem;

namespace {

// Removed with everything in it at the end.
struct Scratch {
  explicit Scratch(fs::path folder) : path(std::move(folder)) { make_folders(path); }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  fs::path path;
};

// Trains until `last_step` and leaves its checkpoint. Returns the steps done.
int64_t run_until(const MakeTrainer& make_trainer, TrainingArguments arguments, const fs::path& folder,
                  int64_t last_step, bool resumes, const Observer& shown) {
  arguments.output_dir = folder.string();
  arguments.resume_from_checkpoint = resumes ? "true" : "";
  Observer observer;
  int64_t step = 0;
  observer.on_step = [&](const TrainProgress& progress) {
    step = progress.step;
    if (shown.on_step) shown.on_step(progress);
  };
  observer.should_stop = [&] { return step >= last_step; };
  return make_trainer(arguments)->train(observer).global_step;
}

// A checkpoint at the end, whether the run is finished or stopped, and none before.
TrainingArguments without_saves(TrainingArguments a) {
  a.save_strategy = "steps";
  a.save_steps = 1e12;
  a.save_total_limit.reset();
  a.save_total_bytes.reset();
  a.save_only_model = a.load_best_model_at_end = a.ignore_data_skip = false;
  a.early_stopping_patience.reset();
  a.do_eval = a.eval_strategy != "no";
  return a;
}

// Names the arguments that are given and that the runs do without.
void explain_left_out(const TrainingArguments& given, const TrainingArguments& used) {
  const Json asked = to_json(given), run = to_json(used), usual = to_json(TrainingArguments());
  std::string list;
  for (const auto& [name, value] : asked.items()) {
    if (value == run.at(name) || value == usual.at(name)) continue;
    list += fmt::format("{}--{} {}", list.empty() ? "" : ", ", name,
                        value.is_string() ? value.get<std::string>() : value.dump());
  }
  if (!list.empty())
    log_info(
        "without effect here: {}. The runs save one checkpoint at their end and stop after a number of "
        "steps; "
        "the bits of a step do not depend on these",
        list);
}

std::string difference_of(const hub::TensorView& a, const hub::TensorView& b) {
  if (a.dtype != b.dtype || a.shape != b.shape) return fmt::format("{} has another shape or type", a.name);
  if (std::memcmp(a.data, b.data, a.num_bytes) == 0) return "";
  size_t at = 0;
  while (a.data[at] == b.data[at]) ++at;
  const size_t size = dtype_size(a.dtype), i = at / size;
  if (a.dtype != DType::f32) return fmt::format("{} differs in value {}", a.name, i);
  float x = 0, y = 0;
  std::memcpy(&x, a.data + i * size, size);
  std::memcpy(&y, b.data + i * size, size);
  return fmt::format("{}[{}] is {} at once and {} with the restart", a.name, i, x, y);
}

void compare_tensors(const fs::path& whole, const fs::path& resumed, ResumeReport& report) {
  if (!path_exists(resumed)) {
    report.difference = fmt::format("the resumed run has no {}", whole.filename().string());
    return;
  }
  const hub::StateDict a = hub::read_safetensors(whole), b = hub::read_safetensors(resumed);
  for (const hub::TensorView& t : a.tensors()) {
    const hub::TensorView* other = b.find(t.name);
    const std::string found = other ? difference_of(t, *other) : t.name + " is missing in the resumed run";
    if (!found.empty()) {
      report.difference = fmt::format("{}: {}", whole.filename().string(), found);
      return;
    }
    ++report.tensors;
    report.values += t.num_elements();
  }
}

bool is_of_this_process(const std::string& key) {
  return key.find("_mem_") != std::string::npos || key.ends_with("runtime") || key.ends_with("per_second") ||
         key == "best_model_checkpoint" || key == "checkpoints";
}

// Without times and paths.
Json comparable(const Json& json) {
  if (json.is_object()) {
    Json out = Json::object();
    for (const auto& [key, value] : json.items())
      if (!is_of_this_process(key)) out[key] = comparable(value);
    return out;
  }
  if (!json.is_array()) return json;
  Json out = Json::array();
  for (const Json& value : json) out.push_back(comparable(value));
  return out;
}

void compare_states(const fs::path& whole, const fs::path& resumed, ResumeReport& report) {
  const Json a = comparable(read_json(whole)), b = comparable(read_json(resumed));
  report.log_lines = static_cast<int64_t>(a.at("log_history").size());
  for (const auto& [key, value] : a.items()) {
    const auto it = b.find(key);
    if (it != b.end() && *it == value) continue;
    report.difference = fmt::format("trainer_state.json: \"{}\" is {} at once and {} with the restart", key,
                                    value.dump(), it == b.end() ? "missing" : it->dump());
    return;
  }
}

// Also those of folders: a generator, the modules of a sentence encoder.
void compare_all_tensors(const fs::path& whole, const fs::path& resumed, ResumeReport& report) {
  for (const fs::path& path : list_folder(whole)) {
    if (is_folder(path))
      compare_all_tensors(path, resumed / path.filename(), report);
    else if (path.extension() == ".safetensors")
      compare_tensors(path, resumed / path.filename(), report);
    if (!report.difference.empty()) return;
  }
}

}  // namespace

void compare_checkpoints(const fs::path& whole, const fs::path& resumed, ResumeReport& report) {
  compare_all_tensors(whole, resumed, report);
  if (!report.difference.empty()) return;
  compare_states(whole / "trainer_state.json", resumed / "trainer_state.json", report);
}

ResumeReport verify_resume(const MakeTrainer& make_trainer, const TrainingArguments& arguments, int64_t steps,
                           const Observer& observer) {
  const TrainingArguments a = without_saves(arguments);
  TrainingArguments settled = a, given = arguments;  // "~" in output_dir
  settle(settled);
  settle(given);
  explain_left_out(given, settled);
  const Scratch scratch(fmt::format("{}.verify-resume-{}", settled.output_dir, ::getpid()));
  const fs::path whole = scratch.path / "whole", parts = scratch.path / "parts";
  ResumeReport report;
  report.steps = run_until(make_trainer, a, whole, steps, false, observer);
  if (report.steps < 2)
    fail_with("use more training data or a smaller --per_device_train_batch_size",
              "the run has {} optimizer step: an interruption needs one before and one after it",
              report.steps);
  report.interrupted_at = run_until(make_trainer, a, parts, report.steps / 2, false, observer);
  // Ends as the whole run does: by itself, or stopped, which leaves out the evaluation of the last step.
  const int64_t end = run_until(make_trainer, a, parts, steps, true, observer);
  if (end != report.steps)
    fail("the resumed run ended at step {}, the whole one at step {}", end, report.steps);
  compare_checkpoints(whole / checkpoint_name(end), parts / checkpoint_name(end), report);
  return report;
}

}  // namespace graft::train
