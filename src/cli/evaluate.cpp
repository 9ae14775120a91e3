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

struct EvaluateOptions : InferenceOptions {
  std::string test_file, task;
  int64_t max_samples = -1;
  bool json = false;
};

Options declare(EvaluateOptions& o) {
  Options options("evaluate", "metrics of a fine-tuned model on labelled data",
                  {"graft evaluate --model results --test_file test.csv",
                   "graft evaluate --model results --test_file test.csv --json"});
  options.inference(o);
  options.text("test_file", o.test_file, "labelled data (masked-lm: text)", true);
  options.text("task", o.task, "default: that of the model's head");
  options.integer("max_eval_samples", o.max_samples, "use the first N examples", {1, 1e12});
  options.flag("json", o.json, "one json object on stdout");
  return options;
}

// Refuses options that have no effect for a masked-lm model.
void check_text_options(const Options& options) {
  for (const auto& [option, reason] : {std::pair{"label_column", "text has no labels"},
                                       {"max_eval_samples", "it counts labelled examples"}}) {
    if (options.given(option))
      throw UsageError(fmt::format("--{} is refused for a masked-lm model: {}", option, reason));
  }
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
  Trainer trainer(model, arguments, std::vector<fs::path>(), {o.test_file}, tokenizer, saved.line_by_line,
                  o.columns);
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
  if (model.task() == "masked-lm") check_text_options(options);
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
  if (std::isinf(scores.front().second))  // NaN: undefined, with a warning
    fail_with(train::kNotFiniteHint, "{}: the loss is {}", folder.string(), scores.front().second);
  print_result(scores, o.json, profile);
  return 0;
}

}  // namespace graft::cli
