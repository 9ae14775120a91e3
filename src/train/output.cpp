#include "train/output.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/checkpoint_files.h"
#include "base/error.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/log.h"
#include "hub/sentence_transformers.h"
#include "hub/state_dict.h"
#include "train/arguments.h"
#include "train/checkpoint.h"
#include "train/metric_names.h"

namespace graft::train {
namespace fs = std::filesystem;

namespace {

Json json_of(const LogEntry& entry) {
  Json json = Json::object();
  for (const auto& [name, value] : entry) json[name] = value;
  return json;
}

}  // namespace

RunLog::RunLog(Trainer::Parts& parts, const StepPlan& plan, TrainState& state, const Observer& observer)
    : parts_(parts), plan_(plan), state_(state), observer_(observer), first_step_(state.step) {
  if (!parts.arguments.skip_memory_metrics) memory_ = std::make_unique<MemoryStage>();
  if (parts.collective->rank() == 0) reports_.emplace(parts.arguments, state.step);
}

void RunLog::step(const StepReport& report) {
  const TrainingArguments& args = parts_.arguments;
  TrainState& s = state_;
  tokens_ += report.tokens;
  input_tokens_ += report.input_tokens;
  s.num_input_tokens_seen += report.input_tokens;
  examples_ += report.examples;
  skipped_steps_ = report.skipped_steps;
  s.window_loss += report.loss;
  s.total_loss += report.loss;
  s.epoch_loss += report.loss;
  ++s.epoch_steps;
  if (is_due(args.logging_strategy, plan_.logging_steps, s.step, report.epoch_ends) ||
      (args.logging_first_step && s.step == 1)) {
    emit({{"loss", s.window_loss / static_cast<double>(s.step - s.logged_at)},
          {"grad_norm", report.grad_norm},
          {"learning_rate", report.learning_rate},
          {"epoch", s.epoch}},
         true);
    s.window_loss = 0;
    s.logged_at = s.step;
  }
  if (!observer_.on_step) return;
  const double elapsed = std::max(stopwatch_.seconds(), 1e-9);
  TrainProgress progress;
  progress.step = s.step;
  progress.total_steps = plan_.total_steps;
  progress.epoch = s.epoch;
  progress.loss = report.loss;
  progress.learning_rate = report.learning_rate;
  progress.tokens_per_second = static_cast<double>(tokens_) / elapsed;
  progress.examples_per_second = static_cast<double>(examples_) / elapsed;
  progress.seconds_left =
      elapsed / static_cast<double>(s.step - first_step_) * static_cast<double>(plan_.total_steps - s.step);
  observer_.on_step(progress);
}

void RunLog::emit(LogEntry entry, bool of_training) {
  if (parts_.arguments.include_num_input_tokens_seen != "no") {
    entry.emplace_back("num_input_tokens_seen", static_cast<double>(state_.num_input_tokens_seen));
    if (of_training) entry.emplace_back("train_tokens_per_second", tokens_per_second());
  }
  Json line = json_of(entry);
  line["step"] = state_.step;
  if (reports_) reports_->add(line);
  state_.history.push_back(std::move(line));
  if (observer_.on_log) observer_.on_log(entry);
}

LogEntry RunLog::evaluation(LogEntry metrics) {
  if (parts_.stop) return {};
  metrics.emplace_back("epoch", state_.epoch);
  state_.evaluated_at = state_.step;
  state_.last_metrics = std::move(metrics);
  emit(state_.last_metrics, false);
  explain_collapse();
  if (observer_.on_evaluate) observer_.on_evaluate(state_.last_metrics, state_.step);
  return state_.last_metrics;
}

void RunLog::explain_collapse() {
  const std::optional<tasks::Collapse>& found = parts_.collapse;
  if (!found || state_.step == 0 || explained_collapse_ || parts_.collective->rank() != 0) return;
  explained_collapse_ = true;
  const std::vector<std::string>& labels = parts_.model.labels();
  const auto label = static_cast<size_t>(found->label);
  // Few parameters need larger steps than a whole model, which the default is for.
  const char* rate = parts_.arguments.peft_type.empty()
                         ? "Lower --learning_rate (1e-5 for a large model), add --warmup_ratio 0.1"
                         : "Raise --learning_rate (1e-3 for adapters, 1e-2 for virtual tokens)";
  log_warning(
      "step {}: all {} predictions of the evaluation are \"{}\", the label of {:.1f} % of the examples: the "
      "model ignores its input. {}, train longer, or try another --seed",
      state_.step, found->examples, label < labels.size() ? labels[label] : std::to_string(label),
      100 * found->share, rate);
}

double RunLog::tokens_per_second() const {
  return static_cast<double>(input_tokens_) / std::max(stopwatch_.seconds(), 1e-9);
}

void RunLog::saved(const fs::path& folder, int64_t step) const {
  if (observer_.on_save) observer_.on_save(folder, step);
}

// Where the model of this evaluation is, else the options that keep it, given those of the run.
std::string RunLog::place_of_best(int64_t step, const std::string& metric) const {
  const TrainingArguments& a = parts_.arguments;
  const auto& kept = state_.checkpoints;
  if (std::find(kept.begin(), kept.end(), step) != kept.end())
    return fmt::format("; that of step {} is in {}", step, checkpoint_name(step));
  if (a.eval_strategy == "no") return "";
  if (!tracks_best(a))
    return fmt::format("; --load_best_model_at_end true --metric_for_best_model {} takes that of the best",
                       metric);
  if (state_.best_step == step) return fmt::format("; that of step {} is in best/", step);
  return fmt::format("; best/ has that of step {}, the best by {}; --metric_for_best_model {} chooses by {}",
                     state_.best_step, metric_of_evaluation(a.metric_for_best_model), metric, metric);
}

void RunLog::explain_best() const {
  const tasks::PrimaryMetric metric = parts_.features.task->primary_metric();
  const std::string name = std::string("eval_") + metric.name;
  struct Seen {
    double value;
    int64_t step;
  };
  std::optional<Seen> best, last;
  for (const Json& line : state_.history) {
    const auto it = line.find(name);
    if (it == line.end() || !it->is_number() || std::isnan(it->get<double>())) continue;
    last = {it->get<double>(), line.at("step").get<int64_t>()};
    if (!best || (metric.larger_is_better ? last->value > best->value : last->value < best->value))
      best = last;
  }
  if (!best || best->value == last->value || last->step != state_.step || parts_.collective->rank() != 0)
    return;
  const std::string where = place_of_best(best->step, metric.name);
  log_info("{} was best at step {}: {:.4f}; the saved model is that of step {}: {:.4f}{}", name, best->step,
           best->value, last->step, last->value, where);
}

TrainResult RunLog::result() const {
  const TrainState& s = state_;
  TrainResult r;
  r.global_step = s.step;
  r.training_loss = s.step ? s.total_loss / static_cast<double>(s.step) : 0;
  r.last_epoch_loss = s.epoch_steps ? s.epoch_loss / static_cast<double>(s.epoch_steps) : 0;
  r.seconds = stopwatch_.seconds();
  r.interrupted = parts_.stop;
  r.metrics = s.last_metrics;
  if (parts_.arguments.include_tokens_per_second)
    r.train_metrics.emplace_back("train_tokens_per_second", tokens_per_second());
  if (memory_) {
    const LogEntry memory = memory_->metrics("train");
    r.train_metrics.insert(r.train_metrics.end(), memory.begin(), memory.end());
  }
  if (skipped_steps_ > 0) r.train_metrics.emplace_back("skipped_steps", static_cast<double>(skipped_steps_));
  return r;
}

namespace {

// Files of an earlier run that would contradict this one: other shards, another tokenizer, the pooling of a
// sentence encoder.
bool is_model_file(const std::string& name) {
  return hub::is_written_weights(name) || hub::is_sentence_transformers_file(name) ||
         name == "tokenizer.json" ||
         std::find(std::begin(kTokenizerFiles), std::end(kTokenizerFiles), name) != std::end(kTokenizerFiles);
}

}  // namespace

namespace {

// f() on rank 0, while the others wait.
template <class F>
void on_first_rank(const Trainer::Parts& parts, F f) {
  if (parts.collective->rank() == 0) f();
  parts.collective->barrier();
}

void write_output(const Trainer::Parts& parts, const RunLog& log, const TrainResult& result) {
  StagedFiles staged(parts.arguments.output_dir);
  save_model(parts, staged.path());
  write_json(staged.path() / "trainer_state.json", log.trainer_state());
  Json all = json_of(result.metrics);
  all.update(json_of(result.train_metrics));
  all["train_loss"] = result.training_loss;
  all["train_last_epoch_loss"] = result.last_epoch_loss;
  all["train_runtime"] = result.seconds;
  all["train_samples"] = parts.features.train ? parts.features.train->size() : 0;
  write_json(staged.path() / "all_results.json", all);
  staged.publish("config.json", is_model_file);
  log.saved(parts.arguments.output_dir, result.global_step);
}

}  // namespace

void save_output(const Trainer::Parts& parts, const RunLog& log, const TrainResult& result) {
  on_first_rank(parts, [&] { write_output(parts, log, result); });
}

std::unique_ptr<OutputLock> prepare_output(const Trainer::Parts& parts) {
  std::unique_ptr<OutputLock> lock;
  on_first_rank(parts, [&] {
    prepare_output(parts.arguments.output_dir);
    lock = std::make_unique<OutputLock>(parts.arguments.output_dir);
    look_at_earlier_checkpoints(parts.arguments.output_dir, resumes(parts.arguments));
  });
  return lock;
}

void add_results(const fs::path& output_dir, const LogEntry& metrics) {
  const fs::path file = output_dir / "all_results.json";
  Json all = read_json(file);
  for (const auto& [name, value] : metrics) all[name] = value;
  write_json(file, all);
}

void check_free_folder(const fs::path& dir, bool overwrite) {
  if (overwrite || !is_folder(dir) || list_folder(dir).empty()) return;
  fail_with(
      "choose another --output_dir, or give --overwrite_output_dir true: the model and files of the same "
      "names "
      "are replaced, others stay",
      "{}: the output folder is not empty; nothing was written", dir.string());
}

void prepare_output(const fs::path& dir) {
  if (path_exists(dir) && !is_folder(dir)) fail("{}: is a file; --output_dir must be a folder", dir.string());
  std::error_code ignored;
  if (const fs::path target = fs::read_symlink(dir, ignored); !target.empty() && !path_exists(dir)) {
    fail_with(fmt::format("make the folder {}, or choose another --output_dir", target.string()),
              "{}: is a symbolic link to {}, which does not exist", dir.string(), target.string());
  }
  make_folders(dir);
  const fs::path probe = dir / ".graft-probe";
  write_file(probe, "");
  remove_file(probe);
}

void look_at_earlier_checkpoints(const fs::path& output, bool resumes) {
  // The remains of a run that was killed while saving.
  for (const fs::path& path : list_folder(output)) {
    const std::string name = path.filename().string();
    if (name.starts_with("tmp-") && is_folder(path) &&
        (step_of_checkpoint(name.substr(4)) > 0 || name == "tmp-best"))
      remove_tree(path);
  }
  if (resumes) return;
  const std::vector<int64_t> earlier = checkpoints_in(output);
  mark_earlier_checkpoints(output, earlier);
  if (earlier.empty()) return;
  log_warning(
      "{}: {} checkpoint{} of an earlier run, the last is {}; they are kept and not counted by "
      "--save_total_limit",
      output.string(), earlier.size(), earlier.size() == 1 ? "" : "s", checkpoint_name(earlier.back()));
}

}  // namespace graft::train
