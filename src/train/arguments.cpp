#include "train/arguments.h"

#include <algorithm>
#include <cstdlib>
#include <map>

#include "base/error.h"
#include "base/log.h"
#include "base/nearest.h"
#include "data/sampler.h"
#include "tasks/question_settings.h"
#include "train/reference_arguments.h"
#include "train/schedule.h"

namespace graft::train {

using T = TrainingArguments;

namespace {

constexpr double kMany = 1e12;  // steps: beyond any run, far from overflow
constexpr Range kBatch{1, 1e6}, kSteps{0, kMany, Range::Ends::without_min, true};

}  // namespace

const std::vector<Argument>& argument_table() {
  using enum Range::Ends;
  static const std::vector<Argument> table = {
      {"output_dir", &T::output_dir, "folder for the model, its checkpoints and the log"},
      {"do_train", &T::do_train, "train (the default of `graft train`)"},
      {"do_eval", &T::do_eval, "evaluate at the end (the default where there is evaluation data)"},
      {"per_device_train_batch_size", &T::per_device_train_batch_size, "examples in a batch of training",
       kBatch},
      {"per_device_eval_batch_size", &T::per_device_eval_batch_size, "examples in a batch of evaluation",
       kBatch},
      {"gradient_accumulation_steps",
       &T::gradient_accumulation_steps,
       "batches per optimizer step",
       {1, 1e9}},
      {"num_train_epochs", &T::num_train_epochs, "passes over the training data", {0, 1e9, without_min}},
      {"max_steps", &T::max_steps, "optimizer steps; overrides num_train_epochs", {1, kMany}},
      {"learning_rate", &T::learning_rate, "highest learning rate", {0, 1e30}},
      {"lr_scheduler_type", &T::lr_scheduler_type, "linear, cosine, constant or constant_with_warmup"},
      {"warmup_steps",
       &T::warmup_steps,
       "steps of linear warm-up; below 1 a ratio of all steps",
       {0, kMany, included, true}},
      {"warmup_ratio", &T::warmup_ratio, "ratio of all steps; overrides warmup_steps", {0, 1}},
      {"weight_decay", &T::weight_decay, "AdamW's decay; not on biases and normalisation layers", {0, 1e3}},
      {"adam_beta1", &T::adam_beta1, "decay of AdamW's first moment", {0, 1, without_max}},
      {"adam_beta2", &T::adam_beta2, "decay of AdamW's second moment", {0, 1, without_max}},
      {"adam_epsilon", &T::adam_epsilon, "AdamW's epsilon", {1e-30, 1}},
      {"max_grad_norm", &T::max_grad_norm, "gradient clipping; 0 = off", {0, 1e30}},
      {"bf16", &T::bf16,
       "matrix products in bf16 (fp32 accumulation, master weights, normalisation, loss); default: true "
       "where that is faster (AMX, AMD with avx512_bf16)"},
      {"seed", &T::seed, "seed of initialisation, dropout, masks and data order"},
      {"data_seed", &T::data_seed, "seed of the data order; default: seed"},
      {"train_sampling_strategy", &T::train_sampling_strategy, "random, sequential or group_by_length"},
      {"dataloader_drop_last", &T::dataloader_drop_last, "leave out the last batch when it is not full"},
      {"logging_strategy", &T::logging_strategy, "no, steps or epoch"},
      {"logging_steps", &T::logging_steps, "steps between lines of the log; below 1 a ratio", kSteps},
      {"logging_first_step", &T::logging_first_step, "log the first step too"},
      {"eval_strategy", &T::eval_strategy, "no, steps or epoch"},
      {"eval_steps", &T::eval_steps, "steps between evaluations; default: logging_steps", kSteps},
      {"eval_on_start", &T::eval_on_start, "evaluate before training"},
      {"save_strategy", &T::save_strategy, "no, steps or epoch"},
      {"save_steps", &T::save_steps, "steps between checkpoints; below 1 a ratio", kSteps},
      {"save_total_limit",
       &T::save_total_limit,
       "checkpoints of this run that are kept; older ones are deleted",
       {1, 1e9}},
      {"max_seq_length",
       &T::max_seq_length,
       "tokens per example; 0 = 128 for classification, 384 for question-answering, 1024 for seq2seq-lm, "
       "else "
       "the model's limit",
       {1, 1e9}},
      {"mlm_probability",
       &T::mlm_probability,
       "share of tokens masked in masked-lm, or in spans of span_corruption",
       {0, 1, without_min}},
      {"whole_word_mask", &T::whole_word_mask, "mask whole words in masked-lm"},
      {"line_by_line", &T::line_by_line,
       "masked-lm, causal-lm: each line a sequence; default: packed to max_seq_length"},
      {"join_texts", &T::join_texts,
       "causal-lm: attention and positions cross the texts of a block, as in run_clm"},
      {"max_target_length",
       &T::max_target_length,
       "seq2seq-lm: tokens of a target; --max_seq_length is for the source",
       {2, 1e9}},
      {"source_prefix", &T::source_prefix, "seq2seq-lm: put before every source, for example 'summarize: '"},
      {"label_smoothing_factor",
       &T::label_smoothing_factor,
       "seq2seq-lm: share of each label that is spread over all tokens, in training",
       {0, 1, without_max}},
      {"span_corruption", &T::span_corruption,
       "seq2seq-lm: the files hold text, of which the model learns to write missing spans (T5's "
       "pretraining)"},
      {"mean_noise_span_length",
       &T::mean_noise_span_length,
       "span_corruption: mean tokens of a span; --mlm_probability is the share of tokens in spans",
       {1, 1e4}},
      {"predict_with_generate", &T::predict_with_generate,
       "seq2seq-lm: evaluation generates texts and gives ROUGE, chrF and exact match"},
      {"generation_max_length",
       &T::generation_max_length,
       "tokens of a text that evaluation generates; 0 = max_target_length",
       {2, 1e9}},
      {"generation_num_beams",
       &T::generation_num_beams,
       "beams of evaluation; 0 = as in generation_config.json, else 1",
       {1, 1e3}},
      {"loss", &T::loss,
       "sentence-embedding: MultipleNegativesRankingLoss, MultipleNegativesSymmetricRankingLoss, CoSENTLoss, "
       "CosineSimilarityLoss or TripletLoss; default: CoSENTLoss for pairs with a score, else the first. "
       "sequence-classification: BinaryCrossEntropyLoss, for a cross-encoder with scores in [0, 1]"},
      {"scale",
       &T::scale,
       "sentence-embedding: factor of the cosines in the ranking losses and in CoSENT",
       {0, 1e6, without_min}},
      {"triplet_margin", &T::triplet_margin, "sentence-embedding: margin of TripletLoss", {0, 1e6}},
      {"distance_metric", &T::distance_metric, "sentence-embedding: euclidean or cosine, of TripletLoss"},
      {"gradient_cache", &T::gradient_cache,
       "sentence-embedding: the loss sees all examples of a step at once, in the memory of a mini-batch"},
      {"mini_batch_size", &T::mini_batch_size, "examples of a mini-batch of gradient_cache", {1, 1e6}},
      {"pooling", &T::pooling,
       "sentence-embedding: mean, cls, max, mean_sqrt_len_tokens, weightedmean or lasttoken; default: as the "
       "checkpoint has it, else mean"},
      {"normalize", &T::normalize,
       "sentence-embedding: embeddings of length 1; default: as the checkpoint has it"},
      {"doc_stride",
       &T::doc_stride,
       "question-answering: tokens that neighbouring windows of a context share",
       {0, 1e9}},
      {"n_best_size",
       &T::n_best_size,
       "question-answering: starts, ends and answers that are kept",
       {1, 1e4}},
      {"max_answer_length", &T::max_answer_length, "question-answering: tokens of an answer", {1, 1e6}},
      {"version_2_with_negative", &T::version_2_with_negative,
       "question-answering: some questions have no answer, as in SQuAD 2"},
      {"null_score_diff_threshold",
       &T::null_score_diff_threshold,
       "question-answering: no answer where its score exceeds that of the best answer by more",
       {-1e30, 1e30}},
      {"language", &T::language,
       "question-answering: rules for comparing answers: en (SQuAD's), de, es, ar, hi, vi, zh (MLQA's), "
       "other"},
      {"drop_bad_answers", &T::drop_bad_answers,
       "question-answering: leave out answers that are not where their offset says"},
      {"freeze", &T::freeze, "freeze the parameters that match: names with * ? [0-3], separated by commas"},
      {"freeze_layers", &T::freeze_layers, "freeze the embeddings and the lowest N layers", {0, 1e4}},
      {"layerwise_lr_decay",
       &T::layerwise_lr_decay,
       "factor of the learning rate from each layer to the one below it",
       {0, 1, without_min}},
      {"reinit_layers", &T::reinit_layers, "start the top N layers from random weights", {0, 1e4}},
  };
  return table;
}

namespace {

// Older names of the same option, and those of the reference's scripts.
const std::map<std::string, std::string>& aliases() {
  static const std::map<std::string, std::string> table = {
      {"evaluation_strategy", "eval_strategy"},
      {"per_gpu_train_batch_size", "per_device_train_batch_size"},
      {"per_gpu_eval_batch_size", "per_device_eval_batch_size"},
      {"train_batch_size", "per_device_train_batch_size"},
      {"eval_batch_size", "per_device_eval_batch_size"},
      {"max_length", "max_seq_length"},
      {"max_source_length", "max_seq_length"},
      {"val_max_target_length", "generation_max_length"},
      {"num_beams", "generation_num_beams"},
      {"num_warmup_steps", "warmup_steps"},
      {"stride", "doc_stride"},
  };
  return table;
}

template <class Field>
struct Unwrap {
  using type = Field;
};
template <class Field>
struct Unwrap<std::optional<Field>> {
  using type = Field;
};

template <class Field>
void assign(Field& field, const std::string& name, const std::string& value, const Range& range) {
  using Value = typename Unwrap<Field>::type;
  if constexpr (std::is_same_v<Value, bool>)
    field = parse_switch(name, value);
  else if constexpr (std::is_same_v<Value, std::string>)
    field = value;
  else if constexpr (std::is_same_v<Value, int64_t>)
    field = parse_integer(name, value, range);
  else if constexpr (std::is_same_v<Value, uint64_t>)
    field = parse_unsigned(name, value);
  else
    field = parse_real(name, value);
}

}  // namespace

bool is_switch(const Argument& argument) {
  return std::holds_alternative<bool T::*>(argument.member) ||
         std::holds_alternative<std::optional<bool> T::*>(argument.member);
}

std::string canonical_argument(const std::string& name) {
  const auto it = aliases().find(name);
  return it == aliases().end() ? name : it->second;
}

bool is_argument(const std::string& given) {
  const std::string name = canonical_argument(given);
  const auto& table = argument_table();
  return name == "group_by_length" || find_reference_argument(name) ||
         std::any_of(table.begin(), table.end(), [&](const Argument& a) { return name == a.name; });
}

void set_argument(TrainingArguments& arguments, const std::string& given, const std::string& value) {
  const std::string name = canonical_argument(given);
  for (const Argument& a : argument_table()) {
    if (name != a.name) continue;
    std::visit([&](auto member) { assign(arguments.*member, given, value, a.range); }, a.member);
    return;
  }
  if (name == "group_by_length") {
    std::string& strategy = arguments.train_sampling_strategy;
    if (parse_switch(given, value)) return void(strategy = "group_by_length");
    if (strategy == "group_by_length") return void(strategy = "random");
    return log_info("--{} {} has no effect here: --train_sampling_strategy is {}", given, value, strategy);
  }
  if (const ReferenceArgument* a = find_reference_argument(name))
    return take_reference_argument(*a, given, value);
  std::vector<std::string> known;
  for (const Argument& a : argument_table()) known.emplace_back(a.name);
  for (const auto& [alias, to] : aliases()) known.push_back(alias);
  const std::string near = nearest_name(name, known);
  throw UsageError(fmt::format("--{} is not known", given),
                   near.empty() ? "" : "did you mean --" + near + "?");
}

namespace {

void check_choice(const char* name, const std::string& value, const std::vector<std::string>& choices) {
  if (std::find(choices.begin(), choices.end(), value) != choices.end()) return;
  std::string list;
  for (const std::string& c : choices) list += (list.empty() ? "" : ", ") + c;
  const std::string near = nearest_name(value, choices);
  throw UsageError(fmt::format("--{} {} is not known; there are: {}", name, value, list),
                   near.empty() ? "" : "did you mean " + near + "?");
}

}  // namespace

void check(const TrainingArguments& a) {
  static const TrainingArguments defaults;
  for (const Argument& argument : argument_table()) {
    std::visit(
        [&](auto member) {
          using Value = typename Unwrap<std::decay_t<decltype(a.*member)>>::type;
          if constexpr (std::is_same_v<Value, int64_t> || std::is_same_v<Value, double>) {
            if constexpr (requires { (a.*member).has_value(); }) {
              if (a.*member) check_range(argument.name, static_cast<double>(*(a.*member)), argument.range);
            } else {
              check_range(argument.name, static_cast<double>(a.*member), argument.range,
                          static_cast<double>(defaults.*member));
            }
          }
        },
        argument.member);
  }
  const std::vector<std::string> strategies = {"no", "steps", "epoch"};
  check_choice("logging_strategy", a.logging_strategy, strategies);
  check_choice("eval_strategy", a.eval_strategy, strategies);
  check_choice("save_strategy", a.save_strategy, strategies);
  check_choice("train_sampling_strategy", a.train_sampling_strategy,
               {"random", "sequential", "group_by_length"});
  check_choice("language", a.language, tasks::answer_languages());
  parse_schedule(a.lr_scheduler_type);
  if (a.output_dir.empty()) throw UsageError("--output_dir is empty", "give the folder for the results");
}

void explain(const TrainingArguments& a) {
  static const TrainingArguments d;
  if (a.max_steps > 0 && a.num_train_epochs != d.num_train_epochs)
    log_info("--num_train_epochs {} has no effect: --max_steps {} overrides it", a.num_train_epochs,
             a.max_steps);
  if (a.warmup_ratio && a.warmup_steps != 0)
    log_info("--warmup_steps {} has no effect: --warmup_ratio {} overrides it", a.warmup_steps,
             *a.warmup_ratio);
  const Schedule schedule = parse_schedule(a.lr_scheduler_type);
  if (schedule == Schedule::constant && (a.warmup_steps > 0 || a.warmup_ratio.value_or(0) > 0))
    log_info("warm-up has no effect with --lr_scheduler_type constant; there is constant_with_warmup");
  if (a.eval_steps && a.eval_strategy != "steps")
    log_info("--eval_steps {} has no effect: --eval_strategy is {}", *a.eval_steps, a.eval_strategy);
  if (a.save_steps != d.save_steps && a.save_strategy != "steps")
    log_info("--save_steps {} has no effect: --save_strategy is {}", a.save_steps, a.save_strategy);
  if (a.save_total_limit && a.save_strategy == "no")
    log_info("--save_total_limit {} has no effect: --save_strategy is no", *a.save_total_limit);
  if (a.logging_steps != d.logging_steps && a.logging_strategy != "steps" && a.eval_strategy != "steps")
    log_info("--logging_steps {} has no effect: --logging_strategy is {}", a.logging_steps,
             a.logging_strategy);
  for (const auto& [name, value] : {std::pair{"generation_max_length", a.generation_max_length},
                                    {"generation_num_beams", a.generation_num_beams}})
    if (value != 0 && !a.predict_with_generate)
      log_info("--{} {} has no effect: --predict_with_generate is false", name, value);
  if (a.learning_rate > 1) {
    log_warning("--learning_rate {} is above 1: AdamW moves each weight by about the rate at every step",
                a.learning_rate);
  }
}

void settle(TrainingArguments& a) {
  check(a);
  if (a.output_dir == "~" || a.output_dir.starts_with("~/")) {
    if (const char* home = std::getenv("HOME")) a.output_dir.replace(0, 1, home);
  }
  if (!a.eval_steps) a.eval_steps = a.logging_steps;
  if (a.eval_strategy != "no" || a.eval_on_start) a.do_eval = true;
}

Json to_json(const TrainingArguments& arguments) {
  Json json = Json::object();
  for (const Argument& a : argument_table()) {
    std::visit(
        [&](auto member) {
          const auto& field = arguments.*member;
          if constexpr (requires { field.has_value(); }) {
            json[a.name] = field ? Json(*field) : Json(nullptr);
          } else {
            json[a.name] = field;
          }
        },
        a.member);
  }
  return json;
}

}  // namespace graft::train
