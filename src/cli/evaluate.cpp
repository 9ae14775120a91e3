// graft evaluate: metrics of a fine-tuned model.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/folder.h"
#include "base/json.h"
#include "cli/class_table.h"
#include "cli/console.h"
#include "cli/find_model.h"
#include "cli/options.h"
#include "cli/profile.h"
#include "cli/verbs.h"
#include "graft/trainer.h"
#include "models/adapter_folder.h"
#include "tasks/task_table.h"
#include "train/arguments.h"
#include "train/saved_arguments.h"
#include "train/trained_model.h"

namespace graft::cli {
namespace fs = std::filesystem;

namespace {

// Training arguments that an evaluation may change, and why a model of another task has no use for them.
// Without them those of training hold.
constexpr const char* kTypes = "return_entity_level_metrics";
constexpr std::pair<const char*, const char*> kArguments[] = {
    {"source_prefix", "its answer is no text"},
    {"max_target_length", "its answer is no text"},
    {"predict_with_generate", "its answer is no text"},
    {"generation_max_length", "its answer is no text"},
    {"generation_num_beams", "its answer is no text"},
    {"span_corruption", "its answer is no text"},
    {"stride", "it labels no words"},
    {"strict_entities", "it labels no words"},
    {kTypes, "it labels no words"},
    {"doc_stride", "it reads no contexts"},
    {"n_best_size", "it reads no contexts"},
    {"max_answer_length", "it reads no contexts"},
    {"version_2_with_negative", "it reads no contexts"},
    {"null_score_diff_threshold", "it reads no contexts"},
    {"language", "it reads no contexts"},
    {"drop_bad_answers", "it reads no contexts"}};

struct EvaluateOptions : InferenceOptions {
  std::string test_file, task;
  int64_t max_samples = -1;
  bool json = false;
  TrainingArguments arguments;
};

Options declare(EvaluateOptions& o) {
  Options options("evaluate", "metrics of a fine-tuned model on labelled data",
                  {"graft evaluate --model results --test_file test.csv",
                   "graft evaluate --model results --test_file test.csv --json",
                   "graft evaluate --model qa-model --test_file xquad.zh.json --language zh"});
  options.inference(o);
  options.text("test_file", o.test_file, "labelled data, or text for a language model", true);
  options.text("task", o.task, "default: that of the model's head");
  options.integer("max_eval_samples", o.max_samples, "use the first N examples", {1, 1e12});
  for (const auto& [name, why] : kArguments) options.training_argument(name, o.arguments);
  options.flag("json", o.json, "one json object on stdout");
  return options;
}

// Refuses options that have no effect for the model's task.
void check_options(const Options& options, const tasks::TaskEntry& task, tasks::Input input) {
  for (const char* name : {"target_column", "source_lang", "target_lang"})
    if (input != tasks::Input::source_and_target && options.given(name))
      throw UsageError(
          fmt::format("--{} is refused for a {} model{}", name, task.head->task,
                      input == task.input ? ": its answer is no text" : " on text with corrupted spans"));
  for (const auto& [name, why] : kArguments)
    if (options.given(name) &&
        std::none_of(task.own_options.begin(), task.own_options.end(),
                     [own = std::string_view(name)](const char* o) { return o == own; }))
      throw UsageError(fmt::format("--{} is refused for a {} model: {}", name, task.head->task, why));
  for (const char* name : {"tag_scheme", "repair_tags"})
    if (input != tasks::Input::tagged_words && options.given(name))
      throw UsageError(
          fmt::format("--{} is refused for a {} model: its words have no tags", name, task.head->task));
  if (input != tasks::Input::text) return;
  for (const auto& [option, reason] : {std::pair{"label_column", "text has no labels"},
                                       {"max_eval_samples", "it counts labelled examples"}}) {
    if (options.given(option))
      throw UsageError(fmt::format("--{} is refused for a {} model: {}", option, task.head->task, reason));
  }
}

TaskData load_data(EvaluateOptions& o, tasks::Input input) {
  TaskData data;
  if (input == tasks::Input::text) {
    data.eval_files = {o.test_file};
    data.columns = o.columns;
  } else {
    tasks::set_layout(o.columns, input);
    o.columns.max_samples = o.max_samples;
    data.eval = Dataset::from_file(o.test_file, o.columns);
    if (data.eval.size() == 0) fail("{}: there is nothing to evaluate on", data.eval.origin());
  }
  return data;
}

// With the settings of training, so that the losses are comparable.
LogEntry score(const Options& options, EvaluateOptions& o, const fs::path& folder, const Model& model,
               const tasks::TaskEntry& task, const TrainingArguments& saved,
               const train::Precision& precision) {
  TaskData data = load_data(o, input_of(task, saved.span_corruption));
  data.tokenizer = Tokenizer::from_pretrained(models::tokenizer_folder(folder));
  TrainingArguments arguments = saved;
  const Json asked = train::to_json(o.arguments);
  for (const auto& [name, why] : kArguments) {
    const Json& value = asked.at(name);
    if (options.given(name))
      train::set_argument(arguments, name, value.is_string() ? value.get<std::string>() : value.dump());
  }
  // The types are what an evaluation of entities is about.
  if (!options.given(kTypes)) arguments.return_entity_level_metrics = true;
  arguments.max_seq_length = train::inference_length(o.max_seq_length, saved, model, *data.tokenizer);
  arguments.per_device_eval_batch_size = o.batch_size;
  arguments.bf16 = precision.bf16;
  if (!task.own_options.empty() && path_exists(folder / "training_args.json")) {
    std::string settings;
    const Json values = train::to_json(arguments);
    for (const char* option : task.own_options)
      if (!options.given(option) && std::string_view(option) != kTypes && !(values.at(option) == Json("")) &&
          !values.at(option).is_null())
        settings += fmt::format("{} {}, ", option, values.at(option).dump());
    if (!settings.empty()) say(fmt::format("as in training: {}seed {}", settings, arguments.seed));
  }
  Trainer trainer(model, arguments, std::move(data));
  return trainer.evaluate();
}

}  // namespace

int evaluate(int argc, char** argv) {
  EvaluateOptions o;
  Options options = declare(o);
  if (!options.parse(argc, argv, 2)) return 0;
  const fs::path folder = find_model(o.model);
  Model model = train::load_trained(
      folder, o.task.empty() ? train::trained_task(folder) : tasks::find_task(o.task).head->task,
      o.load_lang_adapter.empty() ? fs::path() : find_model(o.load_lang_adapter));
  const tasks::TaskEntry& task = tasks::task_of(model);
  TrainingArguments saved = train::saved_arguments(folder);
  if (options.given("span_corruption")) saved.span_corruption = o.arguments.span_corruption;
  check_options(options, task, input_of(task, saved.span_corruption));
  const train::Precision precision = train::inference_precision(o.bf16, saved);
  say_loaded(model, o.model, precision);
  say_unused(model.load_report());
  Profile profile(o.profile);
  const LogEntry scores = score(options, o, folder, model, task, saved, precision);
  profile.stop();
  if (std::isinf(scores.front().second))  // NaN: undefined, with a warning
    fail_with(train::kNotFiniteHint, "{}: the loss is {}", folder.string(), scores.front().second);
  LogEntry shown = scores;
  if (!o.json) print_class_table(shown, "eval_");
  print_result(shown, o.json, profile);
  return 0;
}

}  // namespace graft::cli
