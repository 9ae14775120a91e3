// graft evaluate: metrics of a fine-tuned model.
#include <fmt/format.h>

#include <cmath>
#include <optional>

#include "base/error.h"
#include "cli/console.h"
#include "cli/find_model.h"
#include "cli/options.h"
#include "cli/profile.h"
#include "cli/verbs.h"
#include "models/registry.h"
#include "train/evaluate_dataset.h"
#include "train/saved_arguments.h"
#include "train/trained_model.h"

namespace graft::cli {
namespace fs = std::filesystem;

namespace {

struct EvaluateOptions {
  std::string model, test_file, task;
  DatasetOptions columns;
  int64_t batch_size = 32, max_seq_length = 0, max_samples = -1;
  bool json = false, profile = false;
  std::optional<bool> bf16;
};

Options declare(EvaluateOptions& o) {
  Options options("evaluate", "metrics of a fine-tuned model on labelled data",
                  {"graft evaluate --model results --test_file test.csv",
                   "graft evaluate --model results --test_file test.csv --json"});
  options.text("model", o.model, "fine-tuned model: a folder, or ORG/NAME[@revision] on the hub", true);
  options.text("test_file", o.test_file, "labelled data (masked-lm: text)", true);
  options.text("task", o.task, "default: what config.json says");
  options.columns(o.columns);
  options.integer("per_device_eval_batch_size", o.batch_size,
                  "examples in a batch; results do not depend on it", {1, 1e6});
  options.integer("max_seq_length", o.max_seq_length, "tokens per example; default: as in training",
                  {1, 1e9});
  options.integer("max_eval_samples", o.max_samples, "use the first N examples", {1, 1e12});
  options.precision(o.bf16, "as in training, fp32 where graft did not train the model");
  options.threads();
  options.flag("json", o.json, "one json object on stdout");
  options.flag("profile", o.profile, "also show time, rates and share of each operation");
  return options;
}

// Masks text as in training, so that the losses are comparable.
LogEntry score_text(const EvaluateOptions& o, const fs::path& folder, const Model& model,
                    const train::SavedArguments& saved, const train::Precision& precision) {
  const auto tokenizer = Tokenizer::from_pretrained(folder);
  TrainingArguments arguments = saved.arguments;
  arguments.max_seq_length = train::inference_length(o.max_seq_length, saved, model, *tokenizer);
  arguments.per_device_eval_batch_size = o.batch_size;
  arguments.do_eval = true;
  arguments.bf16 = precision.bf16;
  say(fmt::format("masks: mlm_probability {}, whole_word_mask {}, line_by_line {}, seed {}",
                  arguments.mlm_probability, arguments.whole_word_mask, saved.line_by_line, arguments.seed));
  Trainer trainer(model, arguments, std::vector<fs::path>(), {o.test_file}, tokenizer, saved.line_by_line);
  return trainer.evaluate();
}

}  // namespace

int evaluate(int argc, char** argv) {
  EvaluateOptions o;
  Options options = declare(o);
  if (!options.parse(argc, argv, 2)) return 0;
  const fs::path folder = find_model(o.model);
  Model model = train::load_trained(
      folder, o.task.empty() ? train::trained_task(folder) : models::canonical_task(o.task));
  for (const char* option : {"text_column", "text_pair_column", "label_column", "max_eval_samples"}) {
    if (model.task() == "masked-lm" && options.given(option)) {
      throw UsageError(
          fmt::format("--{} is refused for masked-lm: its files are plain text, a line at a time", option));
    }
  }
  const train::SavedArguments saved = train::saved_arguments(folder);
  const train::Precision precision = train::inference_precision(o.bf16, saved);
  say_loaded(model, o.model, precision);
  say_unused(model.load_report());
  LogEntry scores;
  Profile profile(o.profile);
  if (model.task() == "masked-lm") {
    scores = score_text(o, folder, model, saved, precision);
  } else {
    train::use_precision(model, precision.bf16);
    o.columns.require_label = true;
    o.columns.max_samples = o.max_samples;
    const Dataset dataset = Dataset::from_file(o.test_file, o.columns);
    scores = train::evaluate_dataset(model, *Tokenizer::from_pretrained(folder), dataset, o.max_seq_length,
                                     o.batch_size, "eval_");
  }
  profile.stop();
  if (!std::isfinite(scores.front().second))
    fail_with(train::kNotFiniteHint, "{}: the loss is {}", folder.string(), scores.front().second);
  print_result(scores, o.json, profile);
  return 0;
}

}  // namespace graft::cli
