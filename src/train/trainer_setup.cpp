// Builds the parts of a Trainer: arguments, precision, features, and the log lines about them.
#include <algorithm>

#include "base/error.h"
#include "models/state.h"
#include "tasks/vocabulary.h"
#include "train/arguments.h"
#include "train/class_weights.h"
#include "train/evaluation_sets.h"
#include "train/parameter_choice.h"
#include "train/parts.h"
#include "train/peft.h"
#include "train/saved_arguments.h"
#include "train/sequence_length.h"

namespace graft {
namespace {

// Throws before the first step if evaluation is requested without data.
void check_evaluation(const Trainer::Parts& p, const TrainingArguments& a) {
  if (train::has_evaluation(p) || !*a.do_eval) return;
  const std::string asked = a.eval_strategy != "no" ? "--eval_strategy " + a.eval_strategy
                            : a.eval_on_start       ? "--eval_on_start true"
                                                    : "--do_eval true";
  const bool text = tasks::input_of(tasks::task_of(p.model), a.span_corruption) == tasks::Input::text;
  throw UsageError(fmt::format("{}: there is no evaluation data", asked),
                   text ? "give --validation_file: the text is too short to put a share of its lines aside"
                        : "give an evaluation set (--validation_file)");
}

void set_loss_options(Trainer::Parts& p, const TrainingArguments& a) {
  tasks::LossOptions options;
  options.label_smoothing = a.label_smoothing_factor;
  options.focal_gamma = a.focal_gamma;
  options.r_drop_alpha = a.r_drop_alpha;
  if (!a.class_weights.empty() && p.features.train)
    options.class_weights = train::class_weights(a.class_weights, p.model, *p.features.train);
  p.features.task->set_loss_options(std::move(options));
  p.model.state().neftune_noise_alpha = static_cast<float>(a.neftune_noise_alpha);
}

}  // namespace

tasks::FeatureSettings train::feature_settings(const TrainingArguments& a) {
  tasks::FeatureSettings settings;
  settings.max_seq_length = a.max_seq_length;
  settings.mlm_probability = a.mlm_probability;
  settings.whole_word_mask = a.whole_word_mask;
  settings.span_mask = a.span_mask;
  settings.geometric_p = a.geometric_p;
  settings.span_upper = a.span_upper;
  settings.line_by_line = a.line_by_line;
  settings.join_texts = a.join_texts;
  settings.max_target_length = a.max_target_length;
  settings.source_prefix = a.source_prefix;
  settings.span_corruption = a.span_corruption;
  settings.mean_noise_span_length = a.mean_noise_span_length;
  settings.predict_with_generate = a.predict_with_generate;
  settings.generation_max_length = a.generation_max_length;
  settings.generation_num_beams = a.generation_num_beams;
  settings.loss = a.loss;
  settings.scale = a.scale;
  settings.triplet_margin = a.triplet_margin;
  settings.distance_metric = a.distance_metric;
  settings.gradient_cache = a.gradient_cache;
  settings.batch_size = a.per_device_train_batch_size;
  settings.max_tokens_per_batch = a.max_tokens_per_batch;
  settings.gradient_accumulation_steps = a.gradient_accumulation_steps;
  settings.drop_last = a.dataloader_drop_last;
  settings.questions = question_settings(a);
  settings.label_all_tokens = a.label_all_tokens;
  settings.stride = a.stride;
  settings.strict_entities = a.strict_entities;
  settings.return_entity_level_metrics = a.return_entity_level_metrics;
  settings.tokenized_path = a.tokenized_path;
  settings.overwrite_cache = a.overwrite_cache;
  settings.seed = a.seed;
  return settings;
}

void train::use_features(Trainer::Parts& p, tasks::PreparedTask features) {
  p.features = std::move(features);
  set_loss_options(p, p.arguments);
  check_evaluation(p, p.arguments);
  if (p.features.train) choose_parameters(p.model, p.arguments);
}

Trainer::Trainer(Model model, TrainingArguments arguments, TaskData data) try
    : parts_(std::make_unique<Parts>(std::move(model))) {
  Parts& p = *parts_;
  train::use_log_level(arguments.log_level);
  train::explain(arguments);
  train::settle(arguments);
  if (!data.tokenizer) fail("a Trainer needs the checkpoint's tokenizer");
  tasks::warn_of_excess_tokens(p.model, *data.tokenizer);
  arguments.bf16 = train::training_precision(arguments.bf16).bf16;  // saved with the model
  train::use_precision(p.model, *arguments.bf16);
  p.model.state().gradient_checkpointing = arguments.gradient_checkpointing;
  arguments.max_seq_length = train::training_length(arguments.max_seq_length, p.model, *data.tokenizer,
                                                    train::new_virtual_tokens(p.model, arguments));
  tasks::FeatureSettings settings = train::feature_settings(arguments);
  if (!arguments.do_eval)
    arguments.do_eval = data.eval.size() > 0 || !data.eval_files.empty() || !data.eval_sets.empty();
  settings.evaluates = *arguments.do_eval && data.eval_sets.empty();
  p.features = tasks::prepare_task(p.model, data, settings);
  p.evaluation_sets = train::prepare_evaluation_sets(p.model, data, settings);
  set_loss_options(p, arguments);
  const auto has_words = [](const Example& e) { return !e.words.empty(); };
  p.prefixes_words = data.tokenizer->prefixes_words() &&
                     std::any_of(data.train.examples().begin(), data.train.examples().end(), has_words);
  p.tokenizer = std::move(data.tokenizer);
  check_evaluation(p, arguments);
  if (p.features.train) {
    train::add_adapter(p.model, arguments, *p.tokenizer);
    train::choose_parameters(p.model, arguments);
  }
  p.arguments = std::move(arguments);
} catch (...) {
  rethrow_as_error();
}

}  // namespace graft
