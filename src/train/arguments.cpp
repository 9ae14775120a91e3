#include "train/arguments.h"

#include <algorithm>
#include <cstdlib>
#include <map>

#include "base/error.h"
#include "base/log.h"
#include "base/nearest.h"
#include "data/sampler.h"
#include "tasks/question_settings.h"
#include "train/older_names.h"
#include "train/optim_choice.h"
#include "train/peft.h"
#include "train/reference_arguments.h"
#include "train/reports.h"
#include "train/schedule.h"
#include "train/weight_average.h"

namespace graft::train {

using T = TrainingArguments;

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
      {"activation_checkpointing", "gradient_checkpointing"},
      {"activation_checkpointing_kwargs", "gradient_checkpointing_kwargs"},
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

bool takes_list(const std::string& name) {
  const auto& table = argument_table();
  return std::any_of(table.begin(), table.end(),
                     [&](const Argument& a) { return name == a.name && a.form == Argument::Form::list; });
}
bool takes_object(const std::string& name) { return name == "lr_scheduler_kwargs"; }

std::string canonical_argument(const std::string& name) {
  const auto it = aliases().find(name);
  return it == aliases().end() ? name : it->second;
}

bool is_argument(const std::string& given) {
  const std::string name = canonical_argument(given);
  const auto& table = argument_table();
  return name == "group_by_length" || name == "adafactor" || find_reference_argument(name) ||
         std::any_of(table.begin(), table.end(), [&](const Argument& a) { return name == a.name; });
}

namespace {

void set_value(TrainingArguments& arguments, const std::string& given, const std::string& value) {
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
  if (name == "adafactor") {
    if (parse_switch(given, value)) return void(arguments.optim = "adafactor");
    if (arguments.optim == "adafactor") return void(arguments.optim = TrainingArguments().optim);
    return log_info("--{} {} has no effect here: --optim is {}", given, value, arguments.optim);
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

}  // namespace

void set_argument(TrainingArguments& arguments, const std::string& given, const std::string& value) {
  set_value(arguments, given, value);
  note_older_name(given);
}

namespace {

const std::vector<std::string>& log_levels() {
  static const std::vector<std::string> names = {"passive", "debug", "info", "warning", "error", "critical"};
  return names;
}

void check_choice(const char* name, const std::string& value, const std::vector<std::string>& choices) {
  if (std::find(choices.begin(), choices.end(), value) != choices.end()) return;
  std::string list;
  for (const std::string& c : choices) list += (list.empty() ? "" : ", ") + c;
  const std::string near = nearest_name(value, choices);
  throw UsageError(fmt::format("--{} {} is not known; there are: {}", name, value, list),
                   near.empty() ? "" : "did you mean " + near + "?");
}

}  // namespace

namespace {

// Contradictions of options about the best model, as the reference refuses them.
void check_best(const TrainingArguments& a) {
  const auto refuse = [&](bool asked, const char* option) {
    if (asked && a.eval_strategy == "no")
      throw UsageError(fmt::format("{} needs evaluations, and --eval_strategy is no", option),
                       "give --eval_strategy epoch, or steps with --eval_steps");
  };
  refuse(a.load_best_model_at_end, "--load_best_model_at_end");
  refuse(a.save_strategy == "best", "--save_strategy best");
  refuse(a.early_stopping_patience.has_value(), "--early_stopping_patience");
}

}  // namespace

void check(const TrainingArguments& a) {
  if (a.run_name == "." || a.run_name == ".." || a.run_name.find('/') != std::string::npos)
    throw UsageError(fmt::format("--run_name {}: it is the name of a folder in output_dir/runs", a.run_name),
                     "--logging_dir names any folder");
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
  check_choice("save_strategy", a.save_strategy, {"no", "steps", "epoch", "best"});
  check_choice("log_level", a.log_level, log_levels());
  check_choice("include_num_input_tokens_seen", a.include_num_input_tokens_seen,
               {"no", "all", "non_padding", "true", "false"});
  for (const std::string& word : words_of(a.debug)) check_choice("debug", word, {"underflow_overflow"});
  parse_reports(a.report_to);
  check_choice("train_sampling_strategy", a.train_sampling_strategy,
               {"random", "sequential", "group_by_length"});
  check_choice("language", a.language, tasks::answer_languages());
  choose_optim(a);
  average_kind(a);
  if (schedule_of(a).type == ScheduleType::reduce_lr_on_plateau && a.eval_strategy == "no")
    throw UsageError("--lr_scheduler_type reduce_lr_on_plateau follows the evaluations, and there are none",
                     "give --eval_strategy epoch or steps");
  if (a.max_tokens_per_batch > 0 && a.gradient_cache)
    throw UsageError("--max_tokens_per_batch is refused with --gradient_cache true",
                     "--mini_batch_size bounds the memory of a pass");
  if (a.max_tokens_per_batch > 0 && a.auto_find_batch_size)
    throw UsageError(
        "--auto_find_batch_size true is refused with --max_tokens_per_batch",
        "give the number of tokens that fits: the message of a batch that does not fit names it");
  if (a.span_mask && a.whole_word_mask)
    throw UsageError("--whole_word_mask is refused with --span_mask: spans consist of whole words",
                     "give one of the two");
  for (const auto& [name, given] : {std::pair{"geometric_p", a.geometric_p != defaults.geometric_p},
                                    {"span_upper", a.span_upper != defaults.span_upper}})
    if (given && !a.span_mask)
      throw UsageError(fmt::format("--{} is for --span_mask true", name), "add --span_mask");
  check_peft(a);
  if (a.output_dir.empty()) throw UsageError("--output_dir is empty", "give the folder for the results");
  check_best(a);
}

bool resumes(const TrainingArguments& a) {
  return !a.resume_from_checkpoint.empty() && a.resume_from_checkpoint != "false" &&
         a.resume_from_checkpoint != "False";
}

bool tracks_best(const TrainingArguments& a) {
  return a.eval_strategy != "no" && (a.load_best_model_at_end || a.save_strategy == "best" ||
                                     a.early_stopping_patience || !a.metric_for_best_model.empty());
}

void use_log_level(const std::string& name) {
  check_choice("log_level", name, log_levels());
  if (name == "passive") return;
  set_log_threshold(name == "warning"                       ? LogThreshold::warnings
                    : name == "error" || name == "critical" ? LogThreshold::none
                                                            : LogThreshold::all);
}

void explain(const TrainingArguments& a) {
  static const TrainingArguments d;
  if (a.eval_delay != d.eval_delay && a.eval_strategy == "no")
    log_info("--eval_delay {} has no effect: --eval_strategy is no", a.eval_delay);
  if (!a.debug.empty() && a.gradient_cache)
    log_info("--debug {} has no effect with --gradient_cache: its passes are not checked", a.debug);
  if (a.skip_grad_spikes > 0 && a.skip_grad_spikes <= 1)
    log_warning(
        "--skip_grad_spikes {} skips steps of the usual size: it is a multiple of the median, such as 10",
        a.skip_grad_spikes);
  if (a.max_skipped_steps != d.max_skipped_steps && a.skip_grad_spikes == 0)
    log_info("--max_skipped_steps {} has no effect: --skip_grad_spikes is 0", a.max_skipped_steps);
  for (const auto& [name, value] : {std::pair{"run_name", &a.run_name}, {"logging_dir", &a.logging_dir}})
    if (!value->empty() && !parse_reports(a.report_to).contains("tensorboard"))
      log_info("--{} {} has no effect: --report_to has no tensorboard", name, *value);
  if (!a.run_name.empty() && !a.logging_dir.empty())
    log_info("--run_name {} has no effect: --logging_dir {} overrides it", a.run_name, a.logging_dir);
  if (a.max_steps > 0 && a.num_train_epochs != d.num_train_epochs)
    log_info("--num_train_epochs {} has no effect: --max_steps {} overrides it", a.num_train_epochs,
             a.max_steps);
  if (a.warmup_ratio && a.warmup_steps != 0)
    log_info("--warmup_steps {} has no effect: --warmup_ratio {} overrides it", a.warmup_steps,
             *a.warmup_ratio);
  if (schedule_of(a).is_constant() && (a.warmup_steps > 0 || a.warmup_ratio.value_or(0) > 0))
    log_info("warm-up has no effect with --lr_scheduler_type {}; there is constant_with_warmup",
             a.lr_scheduler_type);
  // training_args.json holds the steps of the log where none were given.
  if (a.eval_steps && *a.eval_steps != a.logging_steps && a.eval_strategy != "steps")
    log_info("--eval_steps {} has no effect: --eval_strategy is {}", *a.eval_steps, a.eval_strategy);
  if (a.save_steps != d.save_steps && a.save_strategy != "steps")
    log_info("--save_steps {} has no effect: --save_strategy is {}", a.save_steps, a.save_strategy);
  for (const auto& [name, value] :
       {std::pair{"save_total_limit", a.save_total_limit}, {"save_total_bytes", a.save_total_bytes}})
    if (value && a.save_strategy == "no")
      log_info("--{} {} has no effect: --save_strategy is no", name, *value);
  if (a.early_stopping_threshold != 0 && !a.early_stopping_patience)
    log_info("--early_stopping_threshold {} has no effect without --early_stopping_patience",
             a.early_stopping_threshold);
  if (!a.metric_for_best_model.empty() && a.eval_strategy == "no")
    log_info("--metric_for_best_model {} has no effect: --eval_strategy is no", a.metric_for_best_model);
  if (a.greater_is_better && !tracks_best(a))
    log_info("--greater_is_better {} has no effect without --metric_for_best_model", *a.greater_is_better);
  for (const auto& [name, asked] :
       {std::pair{"ignore_data_skip", a.ignore_data_skip},
        {"restore_callback_states_from_checkpoint", a.restore_callback_states_from_checkpoint.has_value()}})
    if (asked && !resumes(a)) log_info("--{} has no effect without --resume_from_checkpoint", name);
  if (a.logging_steps != d.logging_steps && a.logging_strategy != "steps" && a.eval_strategy != "steps")
    log_info("--logging_steps {} has no effect: --logging_strategy is {}", a.logging_steps,
             a.logging_strategy);
  for (const auto& [name, value] : {std::pair{"generation_max_length", a.generation_max_length},
                                    {"generation_num_beams", a.generation_num_beams}})
    if (value != 0 && !a.predict_with_generate)
      log_info("--{} {} has no effect: --predict_with_generate is false", name, value);
  if (a.max_tokens_per_batch > 0 && a.per_device_train_batch_size != d.per_device_train_batch_size)
    log_info("--per_device_train_batch_size {} has no effect: --max_tokens_per_batch {} overrides it",
             a.per_device_train_batch_size, a.max_tokens_per_batch);
  const OptimChoice optim = choose_optim(a);
  for (const auto& [name, value, usual] : {std::tuple{"adam_beta1", a.adam_beta1, d.adam_beta1},
                                           {"adam_beta2", a.adam_beta2, d.adam_beta2},
                                           {"adam_epsilon", a.adam_epsilon, d.adam_epsilon}})
    if (!optim.is_adam && value != usual)
      log_info("--{} {} has no effect: --optim is {}", name, value, a.optim);
  if (a.swa_lr != 0 && a.swa_start == 0)
    log_info("--swa_lr {} has no effect: there is no --swa_start", a.swa_lr);
  if (a.learning_rate > 1 && optim.is_adam) {
    log_warning("--learning_rate {} is above 1: AdamW moves each weight by about the rate at every step",
                a.learning_rate);
  }
}

void expand_home(std::string& path) {
  if (path != "~" && !path.starts_with("~/")) return;
  if (const char* home = std::getenv("HOME")) path.replace(0, 1, home);
}

void settle(TrainingArguments& a) {
  check(a);
  expand_home(a.output_dir);
  expand_home(a.logging_dir);
  // A switch in transformers 4.
  std::string& counted = a.include_num_input_tokens_seen;
  counted = counted == "true" ? "all" : counted == "false" ? "no" : counted;
  if (!words_of(a.debug).empty()) a.debug = "underflow_overflow";
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
