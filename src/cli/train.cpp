// graft train: fine-tuning on labelled files, pretraining on text.
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/folder.h"
#include "base/json.h"
#include "cli/console.h"
#include "cli/find_model.h"
#include "cli/options.h"
#include "cli/predict_test_file.h"
#include "cli/print_config.h"
#include "cli/profile.h"
#include "cli/stage_hooks.h"
#include "cli/train_options.h"
#include "cli/verbs.h"
#include "tasks/task_table.h"
#include "train/arguments.h"
#include "train/job.h"
#include "train/parts.h"
#include "train/saved_arguments.h"

namespace graft::cli {
namespace fs = std::filesystem;

namespace {

struct TrainOptions : train::TrainJob {
  bool json = false, profile = false;
  std::string print_config;  // "", "table" or "json"
};

Options declare(TrainOptions& o) {
  Options options(
      "train", "fine-tune a checkpoint on labelled data, or pretrain it on text",
      {"graft train --model bert-base-uncased --task sequence-classification --train_file train.csv \\",
       "    --validation_file dev.csv --output_dir results --learning_rate 2e-5 --num_train_epochs 3",
       "graft train --model DIR --task ner --train_file train.conll --validation_file dev.conll \\",
       "    --output_dir ner",
       "graft train --model DIR --task masked-lm --train_file corpus.txt.xz --output_dir adapted",
       "graft train --model DIR --task masked-lm --span_mask --train_file corpus.txt --output_dir spans",
       "graft train --model DIR --peft_type seq_bn --train_file train.csv --output_dir adapter",
       "graft train --model DIR --peft_type prompt_tuning --num_virtual_tokens 20 --train_file train.csv \\",
       "    --output_dir prompt --learning_rate 1e-2",
       "graft train --model bert-base-uncased --task question-answering --train_file train-v1.1.json \\",
       "    --validation_file dev-v1.1.json --output_dir qa-model",
       "graft train --model DIR --task sentence-embedding --train_file pairs.csv --output_dir encoder",
       "graft train --task masked-lm --config_name config.json --tokenizer_name DIR --train_file text.txt \\",
       "    --output_dir pretrained"});
  declare_job(options, o);
  options.flag("json", o.json, "the result on stdout as json");
  options.flag("profile", o.profile, "also show time, rates and share of each operation of the training");
  options.form(
      "print_config", {"table", "json"}, o.print_config,
      "show each option with its value and who set it, and end; --print_config=json shows them as json");
  return options;
}

std::string replaced(std::string text, char from, char to) {
  std::replace(text.begin(), text.end(), from, to);
  return text;
}

std::string shell_quoted(const std::string& word) {
  const auto is_safe = [](unsigned char c) {
    return std::isalnum(c) || std::strchr("_-./=,:@+%", c) != nullptr;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), is_safe)) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// The command line that continues this run, quoted for a shell.
std::string resuming_command(int argc, char** argv) {
  std::string line = "graft";
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const std::string name = replaced(word.substr(0, word.find('=')), '-', '_');
    if (name == "__resume_from_checkpoint") {
      if (word.find('=') == std::string::npos) ++i;  // its value
      continue;
    }
    line += " " + shell_quoted(word);
  }
  return line + " --resume_from_checkpoint true";
}

// " of step 40 of 60 (the best; ...)" where the output is not the model of the last step.
std::string of_best_step(const TrainResult& result) {
  for (const auto& [name, value] : result.train_metrics)
    if (name == "best_global_step" && static_cast<int64_t>(value) != result.global_step)
      return fmt::format(" of step {} of {} (the best; all metrics are its own)", static_cast<int64_t>(value),
                         result.global_step);
  return "";
}

int run(Trainer& trainer, const TrainOptions& o, const std::string& resuming) {
  Observer observer;
  observer.on_log = say_log_entry;
  if (!o.arguments.disable_tqdm.value_or(false)) observer.on_step = show_progress;
  Profile profile(o.profile);
  TrainResult result;
  {
    const StopOnSignals stop(
        trainer, "\nStopped after the training. Its model is saved; what follows it is missing.\n");
    result = trainer.train(observer);
  }
  profile.stop();
  end_progress();
  const LogEntry table = train::summarize(o, trainer, result);
  say(result.interrupted
          ? fmt::format("interrupted at step {}; the model of that step is in {}", result.global_step,
                        o.arguments.output_dir)
          : fmt::format("done; the model{} is in {}", of_best_step(result), o.arguments.output_dir));
  if (result.interrupted &&
      path_exists(fs::path(o.arguments.output_dir) / fmt::format("checkpoint-{}", result.global_step)))
    say("to resume: " + resuming);
  print_result(table, o.json, profile);
  if (o.arguments.do_predict && !result.interrupted)
    predict_test_file(o.arguments.output_dir, o.test_file.front(), o.columns);
  return signal_exit_code();
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
    if (input_of(*o.task, o.arguments.span_corruption) == tasks::Input::text && o.wants_evaluation())
      continue;  // on a share of the training text
    say(fmt::format("--{} has no effect here: there is no --{}", need.option,
                    fmt::join(need.data, " and no --")));
  }
}

// Files that are given and not used, or used twice.
void explain_files(const TrainOptions& o) {
  if (!o.validation_file.empty() && o.arguments.do_eval && !o.wants_evaluation())
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

// The options that are no training arguments, for training_args.json: as --config it repeats the run.
Json job_options(const Options& options) {
  const std::vector<std::string> other = {"config",       "json",   "num_threads", "overwrite_output_dir",
                                          "print_config", "profile"};
  Json json = Json::object();
  for (const Options::Setting& s : options.settings())
    if (!s.training && !s.values.empty() && std::find(other.begin(), other.end(), s.name) == other.end())
      json[s.name] = s.is_list ? Json(s.values) : Json(s.values.front());
  return json;
}

}  // namespace

std::vector<std::string> train_options() {
  TrainOptions o;
  return declare(o).names();
}

int train(int argc, char** argv) {
  TrainOptions o;
  Options options = declare(o);
  if (!options.parse(argc, argv, 2)) return 0;
  refuse_no_training(options, o.arguments);
  if (!o.print_config.empty()) {
    print_config(options, o.arguments, !o.validation_file.empty(), o.print_config == "json");
    return 0;
  }
  const EndOnSignals ends("\nStopped before the training: no step was done and nothing is saved.\n");
  train::use_log_level(o.arguments.log_level);
  train::check_job(o);
  explain_needs(options, o);
  explain_files(o);
  train::check_output_dir(o);  // fails before the download
  const fs::path checkpoint = train::find_checkpoint(o, find_model);
  TaskData data = train::load_data(o, o.tokenizer_name.empty() ? checkpoint : find_model(o.tokenizer_name));
  const Model model = train::load_model(o, checkpoint, data);
  say_loaded(model, o.model.empty() ? checkpoint.string() + " (random weights)" : o.model,
             train::training_precision(o.arguments.bf16));
  if (!o.model.empty()) say_load_report(model.load_report());
  Trainer trainer(model, o.arguments, std::move(data));
  trainer.parts().job_options = job_options(options);
  return run(trainer, o, resuming_command(argc, argv));
}

}  // namespace graft::cli
