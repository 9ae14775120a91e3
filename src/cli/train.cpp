// graft train: fine-tuning on labelled files, pretraining on text.
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "base/error.h"
#include "base/folder.h"
#include "cli/console.h"
#include "cli/find_model.h"
#include "cli/options.h"
#include "cli/profile.h"
#include "cli/verbs.h"
#include "tasks/task_table.h"
#include "train/arguments.h"
#include "train/output.h"
#include "train/saved_arguments.h"

namespace graft::cli {
namespace fs = std::filesystem;

namespace {

struct TrainOptions {
  std::string model, task_name = tasks::default_task().head->task, config_name, tokenizer_name;
  const tasks::TaskEntry* task = nullptr;
  std::vector<std::string> train_file, validation_file, test_file;
  DatasetOptions columns;
  int64_t max_train_samples = -1, max_eval_samples = -1, max_predict_samples = -1;
  bool ignore_mismatched_sizes = false, overwrite_output_dir = false, line_by_line = false, json = false,
       profile = false;
  TrainingArguments arguments;
};

constexpr train::Range kSamples{1, 1e12};

Options declare(TrainOptions& o) {
  Options options(
      "train", "fine-tune a checkpoint on labelled data, or pretrain it on text",
      {"graft train --model bert-base-uncased --task sequence-classification --train_file train.csv \\",
       "    --validation_file dev.csv --output_dir results --learning_rate 2e-5 --num_train_epochs 3",
       "graft train --model DIR --task masked-lm --train_file corpus.txt.xz --output_dir adapted",
       "graft train --task masked-lm --config_name config.json --tokenizer_name DIR --train_file text.txt \\",
       "    --output_dir pretrained"});
  options.text("model", o.model, "checkpoint: a folder, or ORG/NAME[@revision] on the hub");
  options.text("task", o.task_name, tasks::task_names());
  options.list("train_file", o.train_file,
               "training data: .csv .tsv .jsonl .json .txt, each also .gz .zst .xz");
  options.list("validation_file", o.validation_file, "evaluation data");
  options.list("test_file", o.test_file, "labelled data to be scored once, after training");
  options.columns(o.columns);
  options.integer("max_train_samples", o.max_train_samples, "use the first N training examples", kSamples);
  options.integer("max_eval_samples", o.max_eval_samples, "use the first N evaluation examples", kSamples);
  options.integer("max_predict_samples", o.max_predict_samples, "use the first N test examples", kSamples);
  options.flag("ignore_mismatched_sizes", o.ignore_mismatched_sizes,
               "reinitialize tensors of another shape, e.g. a head");
  options.text("config_name", o.config_name, "config.json (or its folder) to train from random weights");
  options.text("tokenizer_name", o.tokenizer_name, "folder of the tokenizer, where it is not the model's");
  options.flag("line_by_line", o.line_by_line,
               "masked-lm: each line a sequence; default: packed to max_seq_length");
  options.flag("overwrite_output_dir", o.overwrite_output_dir, "write into an output_dir that is not empty");
  options.flag("json", o.json, "the result on stdout as json");
  options.flag("profile", o.profile, "also show time, rates and share of each operation of the training");
  options.threads();
  options.training_arguments(o.arguments);
  return options;
}

void check_output_dir(const TrainOptions& o) {
  const fs::path dir = o.arguments.output_dir;
  if (is_folder(dir) && !list_folder(dir).empty() && !o.overwrite_output_dir) {
    fail_with(
        "choose another --output_dir, or give --overwrite_output_dir true: the model and "
        "files of the same names are replaced, others stay",
        "{}: the output folder is not empty; nothing was written", dir.string());
  }
  train::prepare_output(dir);  // fails before the download
}

Dataset load(const std::vector<std::string>& files, const char* name, const TrainOptions& o,
             int64_t max_samples) {
  if (files.size() > 1) throw UsageError(fmt::format("--{} takes one file for this task", name));
  if (files.empty()) return {};
  DatasetOptions options = o.columns;
  options.require_label = true;
  options.max_samples = max_samples;
  return Dataset::from_file(files.front(), options);
}

TaskData load_data(const TrainOptions& o) {
  TaskData data;
  if (o.task->input == tasks::Input::text) {
    data.train_files.assign(o.train_file.begin(), o.train_file.end());
    data.eval_files.assign(o.validation_file.begin(), o.validation_file.end());
    data.line_by_line = o.line_by_line;
    data.columns = o.columns;
  } else {
    data.train = load(o.train_file, "train_file", o, o.max_train_samples);
    data.eval = load(o.validation_file, "validation_file", o, o.max_eval_samples);
    data.test = load(o.test_file, "test_file", o, o.max_predict_samples);
  }
  return data;
}

Model load_model(const TrainOptions& o, const fs::path& folder, const TaskData& data) {
  ModelOptions options;
  options.task = o.task->head->task;
  options.seed = o.arguments.seed;
  options.ignore_mismatched_sizes = o.ignore_mismatched_sizes;
  const fs::path config =
      is_folder(o.config_name) ? fs::path(o.config_name) / "config.json" : fs::path(o.config_name);
  Model model = load_for_training(o.model.empty() ? config : folder, data, options);
  say_loaded(model, o.model.empty() ? o.config_name + " (random weights)" : o.model,
             train::training_precision(o.arguments.bf16));
  if (!o.model.empty()) say_load_report(model.load_report());
  return model;
}

int run(Trainer& trainer, const TrainOptions& o) {
  trainer.on_log(say_log_entry);
  trainer.on_progress(show_progress);
  Profile profile(o.profile);
  TrainResult result;
  {
    const StopOnSignals stop(trainer);
    result = trainer.train();
  }
  profile.stop();
  end_progress();
  LogEntry table = {{"train_loss", result.training_loss},
                    {"train_last_epoch_loss", result.last_epoch_loss},
                    {"train_runtime", result.seconds},
                    {"global_step", static_cast<double>(result.global_step)}};
  table.insert(table.end(), result.metrics.begin(), result.metrics.end());
  if (!o.test_file.empty() && !result.interrupted) {
    const LogEntry scores = trainer.evaluate_test();
    train::add_results(o.arguments.output_dir, scores);
    table.insert(table.end(), scores.begin(), scores.end());
  }
  say(result.interrupted ? fmt::format("interrupted at step {}; the model of that step is in {}",
                                       result.global_step, o.arguments.output_dir)
                         : fmt::format("done; the model is in {}", o.arguments.output_dir));
  print_result(table, o.json, profile);
  return signal_exit_code();
}

bool wants_evaluation(const TrainingArguments& a) {
  return a.do_eval || a.eval_on_start || a.eval_strategy != "no";
}

// Options that act on other options' data only.
struct Need {
  const char* option;
  std::vector<const char*> data;  // one of these
};

void explain_needs(const Options& options, const TrainOptions& o) {
  static const std::vector<Need> needs = {
      {"max_eval_samples", {"validation_file"}},
      {"max_predict_samples", {"test_file"}},
      {"per_device_eval_batch_size", {"validation_file", "test_file"}},
      {"ignore_mismatched_sizes", {"model"}},
  };
  for (const Need& need : needs) {
    // training_args.json repeats the batch size of every run.
    const bool asked = std::string_view(need.option).starts_with("per_device") ? options.typed(need.option)
                                                                               : options.given(need.option);
    if (!asked ||
        std::any_of(need.data.begin(), need.data.end(), [&](const char* d) { return options.given(d); }))
      continue;
    if (o.task->input == tasks::Input::text && wants_evaluation(o.arguments))
      continue;  // on a share of the training text
    say(fmt::format("--{} has no effect here: there is no --{}", need.option,
                    fmt::join(need.data, " and no --")));
  }
}

// Files that are given and not used, or used twice.
void explain_files(const Options& options, const TrainOptions& o) {
  if (!o.validation_file.empty() && options.given("do_eval") && !wants_evaluation(o.arguments))
    say(fmt::format("--validation_file {} is not evaluated: --do_eval is false", o.validation_file.front()));
  for (const std::string& train : o.train_file) {
    for (const auto& [files, name] :
         {std::pair{&o.validation_file, "validation_file"}, {&o.test_file, "test_file"}}) {
      for (const std::string& file : *files) {
        std::error_code ignored;
        if (!fs::equivalent(train, file, ignored)) continue;
        say(fmt::format(
            "warning: --{} {} is the training data too: its metrics say nothing about other texts", name,
            file));
      }
    }
  }
}

// As training_args.json repeats the options of every task: false is not asking, nor is the default.
bool asks_for(const std::string& option, const TrainOptions& o) {
  if (option == "line_by_line") return o.line_by_line;
  const Json given = train::to_json(o.arguments), defaults = train::to_json(TrainingArguments());
  return !(given.at(option) == defaults.at(option));
}

// Refuses options that have no effect for the task.
void check_options(const Options& options, TrainOptions& o) {
  const bool text = o.task->input == tasks::Input::text;
  const auto fail_for = [&](const char* name, const std::string& reason) {
    throw UsageError(fmt::format("--{} is refused for --task {}: {}", name, o.task->head->task, reason));
  };
  const auto refuse = [&](const char* name, const std::string& reason) {
    if (options.given(name)) fail_for(name, reason);
  };
  if (text) refuse("label_column", "text has no labels");
  for (const char* name : {"max_train_samples", "max_eval_samples", "max_predict_samples"}) {
    if (text) refuse(name, "it counts labelled examples; --max_steps shortens a run on text");
  }
  if (text) refuse("test_file", "it is for labelled data; give text as --validation_file");
  for (const tasks::TaskEntry* other : tasks::task_table()) {
    if (other == o.task) continue;
    for (const char* name : other->own_options)
      if (asks_for(name, o)) fail_for(name, fmt::format("it is for --task {}", other->head->task));
  }
  if (options.typed("do_train") && !o.arguments.do_train) {
    throw UsageError("--do_train false is refused: this is `graft train`",
                     "graft evaluate gives the metrics of a model");
  }
  o.arguments.do_train = true;
  if (!text && o.validation_file.empty() && wants_evaluation(o.arguments)) {
    throw UsageError(
        "evaluation was asked for (--do_eval, --eval_on_start or --eval_strategy) but there is no "
        "--validation_file");
  }
}

}  // namespace

int train(int argc, char** argv) {
  TrainOptions o;
  Options options = declare(o);
  if (!options.parse(argc, argv, 2)) return 0;
  o.task = &tasks::find_task(o.task_name);
  if (o.model.empty() == o.config_name.empty()) {
    throw UsageError("give --model (a checkpoint) or --config_name (random weights), one of the two",
                     "graft train --help shows examples");
  }
  if (o.model.empty() && o.tokenizer_name.empty()) throw UsageError("--config_name needs --tokenizer_name");
  if (o.train_file.empty()) throw UsageError("--train_file is needed");
  train::check(o.arguments);
  check_options(options, o);
  if (!options.given("do_eval") && !o.arguments.do_eval) o.arguments.do_eval = !o.validation_file.empty();
  explain_needs(options, o);
  explain_files(options, o);
  check_output_dir(o);
  if (!o.config_name.empty() && !path_exists(o.config_name))
    o.config_name = find_model(o.config_name).string();
  const fs::path folder = o.model.empty() ? fs::path() : find_model(o.model);
  TaskData data = load_data(o);
  data.tokenizer =
      Tokenizer::from_pretrained(o.tokenizer_name.empty() ? folder : find_model(o.tokenizer_name));
  const Model model = load_model(o, folder, data);
  Trainer trainer(model, o.arguments, std::move(data));
  return run(trainer, o);
}

}  // namespace graft::cli
