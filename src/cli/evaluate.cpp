// graft evaluate: metrics of a fine-tuned model.
#include <fmt/format.h>

#include <cmath>
#include <cstdio>

#include "base/error.h"
#include "base/json.h"
#include "cli/console.h"
#include "cli/find_model.h"
#include "cli/options.h"
#include "cli/profile.h"
#include "cli/verbs.h"
#include "models/registry.h"
#include "train/evaluate_dataset.h"
#include "train/saved_arguments.h"

namespace graft::cli {
namespace fs = std::filesystem;

namespace {

LogEntry score_text(const fs::path& folder, const Model& model, const std::string& file,
                    int64_t max_seq_length, int64_t batch_size) {
  TrainingArguments arguments;
  arguments.max_seq_length = max_seq_length;
  arguments.per_device_eval_batch_size = batch_size;
  arguments.do_eval = true;
  arguments.bf16 = train::saved_precision(folder).bf16;
  Trainer trainer(model, arguments, std::vector<fs::path>(), {file}, Tokenizer::from_pretrained(folder));
  return trainer.evaluate();
}

}  // namespace

int evaluate(int argc, char** argv) {
  std::string name, file, task;
  DatasetOptions columns;
  int64_t batch_size = 32, max_seq_length = 0, max_samples = -1;
  bool json = false, show_profile = false;
  Options options("evaluate", "metrics of a fine-tuned model on labelled data",
                  {"graft evaluate --model results --test_file test.csv",
                   "graft evaluate --model results --test_file test.csv --json"});
  options.text("model", name, "fine-tuned model: a folder, or ORG/NAME[@revision] on the hub", true);
  options.text("test_file", file, "labelled data (masked-lm: text)", true);
  options.text("task", task, "default: what config.json says");
  options.columns(columns);
  options.integer("per_device_eval_batch_size", batch_size,
                  "examples in a batch; results do not depend on it");
  options.integer("max_seq_length", max_seq_length, "tokens per example; default: as in training");
  options.integer("max_eval_samples", max_samples, "use the first N examples");
  options.flag("json", json, "one json object on stdout");
  options.flag("profile", show_profile, "also show time, rates and share of each operation");
  if (!options.parse(argc, argv, 2)) return 0;
  if (batch_size < 1) throw UsageError("--per_device_eval_batch_size must be at least 1");

  const fs::path folder = find_model(name);
  const models::ModelConfig config = models::ModelConfig::from_file(folder / "config.json");
  ModelOptions model_options;
  model_options.task = task.empty() ? models::task_of_config(config) : models::canonical_task(task);
  if (model_options.task.empty()) {
    models::find_architecture(config,
                              "sequence-classification");  // a model_type that is not here is the reason
    fail_with("fine-tune it first, or give --task", "{}: {}", folder.string(), models::head_in_words(config));
  }
  Model model = Model::from_pretrained(folder, model_options);
  if (!model.load_report().missing.empty()) {
    fail_with("fine-tune it first: graft train", "{}: the checkpoint has no trained head ({} is missing)",
              folder.string(), model.load_report().missing.front());
  }
  for (const char* option : {"text_column", "text_pair_column", "label_column", "max_eval_samples"}) {
    if (model.task() == "masked-lm" && options.given(option)) {
      throw UsageError(
          fmt::format("--{} is refused for masked-lm: its files are plain text, a line at a time", option));
    }
  }
  const train::Precision precision = train::saved_precision(folder);
  say_loaded(model, name, precision);
  say_unused(model.load_report());
  train::use_precision(model, precision.bf16);
  LogEntry scores;
  Profile profile(show_profile);
  if (model.task() == "masked-lm") {
    scores = score_text(folder, model, file, max_seq_length, batch_size);
  } else {
    columns.require_label = true;
    columns.max_samples = max_samples;
    const Dataset dataset = Dataset::from_file(file, columns);
    scores = train::evaluate_dataset(model, *Tokenizer::from_pretrained(folder), dataset, max_seq_length,
                                     batch_size, "eval_");
  }
  profile.stop();
  if (!std::isfinite(scores.front().second)) {
    fail_with(
        "the weights are damaged or the training that made them diverged: copy or train the model again",
        "{}: the loss is {}", folder.string(), scores.front().second);
  }
  if (json) {
    Json out = Json::object();
    for (const auto& [key, value] : scores) out[key] = value;
    if (profile.on()) out["profile"] = profile.json();
    fmt::print("{}\n", out.dump());
  } else {
    print_table(stdout, scores);
    if (profile.on()) profile.print(stdout);
  }
  return 0;
}

}  // namespace graft::cli
