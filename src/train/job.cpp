#include "train/job.h"

#include <fmt/ranges.h>

#include <unistd.h>

#include <algorithm>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/log.h"
#include "data/array_cache.h"
#include "hub/resolve.h"
#include "models/adapter_folder.h"
#include "models/config_keys.h"
#include "tasks/sequence_classification.h"
#include "train/arguments.h"
#include "train/checkpoint.h"
#include "train/evaluation_sets.h"
#include "train/output.h"
#include "train/output_lock.h"
#include "train/reports.h"

namespace graft::train {
namespace fs = std::filesystem;

namespace {

// As training_args.json repeats the options of every task: false is not asking, nor is the default.
bool asks_for(const std::string& option, const TrainJob& job) {
  const Json given = to_json(job.arguments), defaults = to_json(TrainingArguments());
  return !(given.at(option) == defaults.at(option));
}

// "masked-lm or causal-lm": the tasks that have an option.
std::string tasks_with(std::string_view option) {
  std::string names;
  for (const tasks::TaskEntry* entry : tasks::task_table())
    if (std::any_of(entry->own_options.begin(), entry->own_options.end(),
                    [&](const char* own) { return own == option; }))
      names += (names.empty() ? "" : " or ") + std::string(entry->head->task);
  return names;
}

// Options of text with span corruption, and those of sources and targets.
void check_span_options(const TrainJob& job) {
  const bool spans = job.arguments.span_corruption;
  const std::vector<const char*> of_spans = {"mean_noise_span_length", "mlm_probability", "line_by_line"},
                                 of_targets = {"source_prefix", "max_target_length", "predict_with_generate"};
  for (const char* name : spans ? of_targets : of_spans)
    if (asks_for(name, job))
      throw UsageError(fmt::format("--{} is refused: it is for {}", name,
                                   spans ? "sources and targets, not for --span_corruption true"
                                         : "text with --span_corruption true"));
}

void check_task_options(const TrainJob& job) {
  const tasks::Input input = input_of(*job.task, job.arguments.span_corruption);
  const bool text = input == tasks::Input::text;
  const auto refuse = [&](bool given, const char* name, const std::string& reason) {
    if (given)
      throw UsageError(fmt::format("--{} is refused for --task {}: {}", name, job.task->head->task, reason));
  };
  refuse(text && !job.columns.label_column.empty(), "label_column", "text has no labels");
  for (const auto& [name, value] : {std::pair{"target_column", &DatasetOptions::target_column},
                                    {"source_lang", &DatasetOptions::source_lang},
                                    {"target_lang", &DatasetOptions::target_lang}})
    refuse(input != tasks::Input::source_and_target && !(job.columns.*value).empty(), name,
           text ? "text has no targets" : "its answer is no text");
  const bool tagged = input == tasks::Input::tagged_words;
  refuse(!tagged && !job.columns.tag_scheme.empty(), "tag_scheme", "its words have no tags");
  refuse(!tagged && job.columns.repair_tags, "repair_tags", "its words have no tags");
  refuse(tagged && !job.columns.text_pair_column.empty(), "text_pair_column", "it reads single texts");
  if (job.task->input == tasks::Input::source_and_target) check_span_options(job);
  for (const auto& [name, value] : {std::pair{"max_train_samples", job.max_train_samples},
                                    {"max_eval_samples", job.max_eval_samples},
                                    {"max_predict_samples", job.max_predict_samples}}) {
    refuse(text && value >= 0, name, "it counts labelled examples; --max_steps shortens a run on text");
  }
  for (const char* name : {"tokenized_path", "overwrite_cache"})
    if (!text && !job.task->takes_rows_in_file && asks_for(name, job))
      log_info("--{} has no effect here: the rows of this task are tokenised in memory", name);
  refuse(text && !job.test_file.empty(), "test_file",
         "it is for labelled data; give text as --validation_file");
  for (const tasks::TaskEntry* other : tasks::task_table()) {
    if (other == job.task) continue;
    for (const char* name : other->own_options) {
      const auto& own = job.task->own_options;
      const bool shared =
          std::any_of(own.begin(), own.end(), [&](const char* o) { return std::string_view(o) == name; });
      refuse(!shared && asks_for(name, job), name, fmt::format("it is for --task {}", tasks_with(name)));
    }
  }
  if (!text && job.validation_file.empty() && job.wants_evaluation()) {
    throw UsageError(
        "evaluation was asked for (--do_eval, --eval_on_start or --eval_strategy) but there is no "
        "--validation_file");
  }
}

Dataset load(const std::vector<std::string>& files, const char* name, const TrainJob& job,
             int64_t max_samples) {
  if (files.size() > 1)
    throw UsageError(fmt::format("--{} is given {} files ({}), and --task {} reads one", name, files.size(),
                                 fmt::join(files, ", "), job.task->head->task),
                     std::string_view(name) == "validation_file"
                         ? "several evaluation sets have names: --validation_file en=dev.en.csv,de=dev.de.csv"
                         : "join the rows of the files into one file");
  if (files.empty()) return {};
  DatasetOptions options = job.columns;
  const tasks::Input input = input_of(*job.task, job.arguments.span_corruption);
  tasks::set_layout(options, input);
  options.max_samples = max_samples;
  options.keep_in_file =
      job.task->takes_rows_in_file && data::is_cached(job.arguments.tokenized_path, {files.front()});
  return Dataset::from_file(files.front(), options);
}

}  // namespace

bool override_dropout(TrainJob& job, const std::string& name, const std::string& value) {
  const std::vector<std::string> keys = models::dropout_keys();
  if (std::find(keys.begin(), keys.end(), name) == keys.end()) return false;
  const double p = parse_real(name, value);
  check_range(name, p, {0, 1, Range::Ends::without_max});
  job.dropout.emplace_back(name, p);
  return true;
}

namespace {

void refuse_label_names(const std::string& value, const std::string& why) {
  throw UsageError(fmt::format("--label_names {} is refused: {}", value, why));
}

// The reference's names of the labels in a batch. Here labels are one column of the file.
void take_label_names(TrainJob& job) {
  const std::string& given = job.arguments.label_names;
  const std::vector<std::string> names = words_of(given);
  if (names.empty()) return;
  std::string& column = job.columns.label_column;
  const tasks::Input input = input_of(*job.task, job.arguments.span_corruption);
  if (given == "labels" || given == "label" || input == tasks::Input::questions)
    return log_info("--label_names {} has no effect here: the labels are found by the usual names", given);
  if (input == tasks::Input::text) refuse_label_names(given, "text has no labels");
  if (names.size() > 1) refuse_label_names(given, "the labels are one column of the file");
  if (!column.empty() && column != given)
    refuse_label_names(given, fmt::format("--label_column is {}", column));
  column = given;
}

void check_prediction(const TrainJob& job) {
  if (!job.arguments.do_predict) return;
  if (job.test_file.empty())
    throw UsageError("--do_predict true needs --test_file", "it names the file whose rows are predicted");
  if (job.task->answer == tasks::Answer::embeddings)
    throw UsageError(
        fmt::format("--do_predict is refused for --task {}: its answer is no label", job.task->head->task),
        "`graft embed` writes embeddings");
}

}  // namespace

void check_job(TrainJob& job) {
  job.task = &tasks::find_task(job.task_name);
  if (job.model.empty() == job.config_name.empty()) {
    throw UsageError("give --model (a checkpoint) or --config_name (random weights), one of the two",
                     "graft train --help shows examples");
  }
  if (job.model.empty() && job.tokenizer_name.empty())
    throw UsageError("--config_name needs --tokenizer_name");
  if (job.model.empty() && !job.load_lang_adapter.empty())
    throw UsageError(
        "--load_lang_adapter is refused with --config_name: it belongs to the weights of a --model");
  if (job.train_file.empty()) throw UsageError("--train_file is needed");
  check(job.arguments);
  named_files(job.validation_file);  // throws for names that contradict each other
  take_label_names(job);
  check_task_options(job);
  check_prediction(job);
  expand_home(job.arguments.output_dir);  // before check_output_dir
  job.arguments.do_train = true;
}

namespace {

// Throws UsageError with the option where a run could not write below `folder`. What is made for the test is
// removed.
void check_folder(const char* option, const fs::path& folder) {
  fs::path there = folder;
  while (!there.empty() && !path_exists(there) && there.has_parent_path() && there != there.parent_path())
    there = there.parent_path();
  if (!path_exists(there)) there = ".";
  const auto refuse = [&](const std::string& why) {
    throw UsageError(fmt::format("--{} {}: {}", option, folder.string(), why),
                     "choose a folder that you may write to");
  };
  if (!is_folder(there)) refuse(fmt::format("{} is a file", there.string()));
  const fs::path probe = there / fmt::format(".graft-probe-{}", ::getpid());
  try {
    write_file(probe, "");
    remove_file(probe);
  } catch (const Error& e) {
    refuse(fmt::format("no file can be written in {}: {}", there.string(), e.what()));
  }
}

// Folders beside output_dir that a run writes into.
void check_folders(const TrainingArguments& a) {
  const std::set<std::string> reports = parse_reports(a.report_to);
  if (reports.empty()) return;
  std::string logging_dir = a.logging_dir;
  expand_home(logging_dir);
  if (reports.contains("jsonl") || logging_dir.empty())
    check_folder("output_dir", fs::path(a.output_dir) / "runs");
  if (reports.contains("tensorboard") && !logging_dir.empty()) check_folder("logging_dir", logging_dir);
}

}  // namespace

void check_output_dir(const TrainJob& job) {
  const fs::path dir = job.arguments.output_dir;
  std::error_code ignored;
  if (!job.model.empty() && !resumes(job.arguments) && fs::equivalent(dir, job.model, ignored))
    log_warning("{}: the output folder is that of --model, whose files this run replaces", dir.string());
  if (path_exists(dir / "LOCK")) const OutputLock probe(dir);  // an error where another run is in it
  const bool resumed = resumes(job.arguments);
  if (resumed && !job.overwrite_output_dir && path_exists(dir / "config.json") &&
      checkpoints_in(dir).empty() && !path_exists(dir / "best") &&
      !is_folder(job.arguments.resume_from_checkpoint)) {
    fail_with("choose another --output_dir, or give --overwrite_output_dir true to train a new model",
              "{}: holds a model and no checkpoint to resume from; nothing was written", dir.string());
  }
  check_free_folder(dir, resumed || job.overwrite_output_dir);
  prepare_output(dir);
  check_folders(job.arguments);
}

TaskData load_data(const TrainJob& job, const fs::path& tokenizer_folder) {
  TaskData data;
  const auto sets = named_files(job.validation_file);
  if (input_of(*job.task, job.arguments.span_corruption) == tasks::Input::text) {
    data.train_files.assign(job.train_file.begin(), job.train_file.end());
    if (sets.empty()) data.eval_files.assign(job.validation_file.begin(), job.validation_file.end());
    data.columns = job.columns;
  } else {
    data.train = load(job.train_file, "train_file", job, job.max_train_samples);
    if (sets.empty()) data.eval = load(job.validation_file, "validation_file", job, job.max_eval_samples);
    data.test = load(job.test_file, "test_file", job, job.max_predict_samples);
  }
  const bool text = input_of(*job.task, job.arguments.span_corruption) == tasks::Input::text;
  for (const auto& [name, file] : sets) {
    EvaluationSet set{name};
    if (text)
      set.files = {file};
    else
      set.data = load({file}, "validation_file", job, job.max_eval_samples);
    data.eval_sets.push_back(std::move(set));
  }
  data.tokenizer = Tokenizer::from_pretrained(models::tokenizer_folder(tokenizer_folder));
  return data;
}

Model load_model(const TrainJob& job, const fs::path& checkpoint, const TaskData& data) {
  ModelOptions options;
  options.task = job.task->head->task;
  options.seed = job.arguments.seed;
  options.pooling = job.arguments.pooling;
  options.normalize = job.arguments.normalize;
  options.ignore_mismatched_sizes = job.ignore_mismatched_sizes;
  options.dropout = job.dropout;
  options.problem_type = tasks::problem_type_of_loss(job.arguments.loss);
  if (!job.load_lang_adapter.empty()) options.load_lang_adapter = hub::resolve_model(job.load_lang_adapter);
  const bool config = job.model.empty() && is_folder(checkpoint);
  return load_for_training(config ? checkpoint / "config.json" : checkpoint, data, options);
}

fs::path find_checkpoint(const TrainJob& job, const std::function<fs::path(const std::string&)>& find) {
  if (!job.model.empty()) return find(job.model);
  return path_exists(job.config_name) ? fs::path(job.config_name) : find(job.config_name);
}

LogEntry summarize(const TrainJob& job, Trainer& trainer, const TrainResult& result) {
  LogEntry table = {{"train_loss", result.training_loss},
                    {"train_last_epoch_loss", result.last_epoch_loss},
                    {"train_runtime", result.seconds},
                    {"global_step", static_cast<double>(result.global_step)}};
  for (const LogEntry* entry : {&result.train_metrics, &result.metrics})
    table.insert(table.end(), entry->begin(), entry->end());
  if (result.interrupted || job.test_file.empty()) return table;
  const LogEntry scores = trainer.evaluate_test();
  add_results(job.arguments.output_dir, scores);
  table.insert(table.end(), scores.begin(), scores.end());
  return table;
}

}  // namespace graft::train
