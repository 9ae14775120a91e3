#include "train/arguments.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>

#include "base/error.h"
#include "base/nearest.h"
#include "data/sampler.h"
#include "train/schedule.h"

namespace graft::train {

using T = TrainingArguments;

const std::vector<Argument>& argument_table() {
  static const std::vector<Argument> table = {
      {"output_dir", &T::output_dir, "folder for the model, its checkpoints and the log"},
      {"do_train", &T::do_train, "train (the default of `graft train`)"},
      {"do_eval", &T::do_eval, "evaluate at the end (the default where there is evaluation data)"},
      {"per_device_train_batch_size", &T::per_device_train_batch_size, "examples in a batch of training"},
      {"per_device_eval_batch_size", &T::per_device_eval_batch_size, "examples in a batch of evaluation"},
      {"gradient_accumulation_steps", &T::gradient_accumulation_steps, "batches per optimizer step"},
      {"num_train_epochs", &T::num_train_epochs, "passes over the training data"},
      {"max_steps", &T::max_steps, "optimizer steps; overrides num_train_epochs"},
      {"learning_rate", &T::learning_rate, "highest learning rate"},
      {"lr_scheduler_type", &T::lr_scheduler_type, "linear, cosine, constant or constant_with_warmup"},
      {"warmup_steps", &T::warmup_steps, "steps of linear warm-up; below 1 a ratio of all steps"},
      {"warmup_ratio", &T::warmup_ratio, "the same as a ratio; goes before warmup_steps"},
      {"weight_decay", &T::weight_decay, "AdamW's decay; not on biases and normalisation layers"},
      {"adam_beta1", &T::adam_beta1, "decay of AdamW's first moment"},
      {"adam_beta2", &T::adam_beta2, "decay of AdamW's second moment"},
      {"adam_epsilon", &T::adam_epsilon, "AdamW's epsilon"},
      {"max_grad_norm", &T::max_grad_norm, "gradient clipping; 0 = off"},
      {"bf16", &T::bf16,
       "matrix products in bf16 (fp32 accumulation, master weights, normalisation, loss); default: true "
       "where "
       "the CPU has bf16 matrix instructions"},
      {"seed", &T::seed, "of everything random"},
      {"data_seed", &T::data_seed, "of the order of the data; default: seed"},
      {"train_sampling_strategy", &T::train_sampling_strategy, "random, sequential or group_by_length"},
      {"dataloader_drop_last", &T::dataloader_drop_last, "leave out the last batch when it is not full"},
      {"logging_strategy", &T::logging_strategy, "no, steps or epoch"},
      {"logging_steps", &T::logging_steps, "steps between lines of the log; below 1 a ratio"},
      {"logging_first_step", &T::logging_first_step, "log the first step too"},
      {"eval_strategy", &T::eval_strategy, "no, steps or epoch"},
      {"eval_steps", &T::eval_steps, "steps between evaluations; default: logging_steps"},
      {"eval_on_start", &T::eval_on_start, "evaluate before training"},
      {"save_strategy", &T::save_strategy, "no, steps or epoch"},
      {"save_steps", &T::save_steps, "steps between checkpoints; below 1 a ratio"},
      {"save_total_limit", &T::save_total_limit, "checkpoints kept; older ones are deleted"},
      {"max_seq_length", &T::max_seq_length,
       "tokens per example; 0 = 128 for classification, the model's limit for masked-lm"},
      {"mlm_probability", &T::mlm_probability, "share of tokens hidden in masked-lm"},
      {"whole_word_mask", &T::whole_word_mask, "hide whole words in masked-lm"},
  };
  return table;
}

namespace {

// Older names of the same option.
const std::map<std::string, std::string>& aliases() {
  static const std::map<std::string, std::string> table = {
      {"evaluation_strategy", "eval_strategy"},
      {"per_gpu_train_batch_size", "per_device_train_batch_size"},
      {"per_gpu_eval_batch_size", "per_device_eval_batch_size"},
      {"train_batch_size", "per_device_train_batch_size"},
      {"eval_batch_size", "per_device_eval_batch_size"},
      {"max_length", "max_seq_length"},
  };
  return table;
}

// Options of the reference whose only other values ask for something that this version cannot do: the value
// that means "as it is" is accepted.
const std::map<std::string, std::vector<std::string>>& fixed_values() {
  static const std::map<std::string, std::vector<std::string>> table = {
      {"optim", {"adamw_torch", "adamw_torch_fused", "adamw_hf"}},
      {"use_cpu", {"true"}},
      {"no_cuda", {"true"}},
      {"fp16", {"false"}},
      {"gradient_checkpointing", {"false"}},
      {"label_smoothing_factor", {"0", "0.0"}},
      {"load_best_model_at_end", {"false"}},
      {"auto_find_batch_size", {"false"}},
      {"push_to_hub", {"false"}},
      {"report_to", {"none"}},
      {"torch_compile", {"false"}},
      {"overwrite_output_dir", {"true"}},
  };
  return table;
}

const char* const kLater =
    "lr_scheduler_kwargs optim_args optim_target_modules fp16_full_eval bf16_full_eval neftune_noise_alpha "
    "include_num_input_tokens_seen log_level disable_tqdm run_name prediction_loss_only eval_delay "
    "include_for_metrics save_only_model enable_jit_checkpoint metric_for_best_model greater_is_better "
    "ignore_data_skip restore_callback_states_from_checkpoint full_determinism dataloader_num_workers "
    "dataloader_prefetch_factor label_names length_column_name debug skip_memory_metrics "
    "resume_from_checkpoint "
    "logging_dir logging_nan_inf_filter group_by_length adafactor do_predict ddp_find_unused_parameters "
    "ddp_bucket_cap_mb "
    "ddp_broadcast_buffers ddp_backend ddp_timeout optim use_cpu no_cuda fp16 gradient_checkpointing "
    "label_smoothing_factor load_best_model_at_end auto_find_batch_size report_to overwrite_output_dir "
    "include_inputs_for_metrics include_tokens_per_second";

const char* const kNever =
    "torch_compile torch_compile_backend torch_compile_mode use_liger_kernel liger_kernel_config push_to_hub "
    "hub_token "
    "hub_private_repo hub_model_id hub_strategy hub_always_push hub_revision accelerator_config "
    "parallelism_config fsdp "
    "fsdp_config deepspeed trackio_space_id half_precision_backend fp16_backend fp16_opt_level "
    "use_mps_device "
    "jit_mode_eval use_ipex torchdynamo tpu_num_cores tpu_metrics_debug tp_size fsdp_min_num_params "
    "fsdp_transformer_layer_cls_to_wrap mp_parameters use_legacy_prediction_loop push_to_hub_model_id "
    "push_to_hub_organization push_to_hub_token split_batches dispatch_batches";

// Options about PyTorch's machinery whose meaning graft has built in, whatever their value.
const char* const kBuiltIn =
    "average_tokens_across_devices tf32 gradient_checkpointing_kwargs use_cache torch_empty_cache_steps "
    "log_on_each_node log_level_replica project eval_do_concat_batches eval_use_gather_object "
    "eval_accumulation_steps batch_eval_metrics save_on_each_node dataloader_pin_memory "
    "dataloader_persistent_workers remove_unused_columns local_rank save_safetensors past_index ray_scope";

bool listed(const char* list, const std::string& name) {
  return (" " + std::string(list) + " ").find(" " + name + " ") != std::string::npos;
}

template <class Number>
Number parse_number(const std::string& name, const std::string& value) {
  std::string text = value;
  text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
  Number n{};
  const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
  auto [end, error] = std::from_chars(begin, text.data() + text.size(), n);
  if constexpr (!std::is_floating_point_v<Number>) {
    // "1e4" and "3.0" are integers to a user
    if (error == std::errc() && end != text.data() + text.size()) {
      double d = 0;
      const auto [d_end, d_error] = std::from_chars(begin, text.data() + text.size(), d);
      const bool fits = d >= static_cast<double>(std::numeric_limits<Number>::min()) &&
                        d < std::ldexp(1.0, std::numeric_limits<Number>::digits);
      if (d_error == std::errc() && fits && d == std::floor(d)) n = static_cast<Number>(d), end = d_end;
    }
  }
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
    throw UsageError(fmt::format("--{} {}: {} was expected", name, value,
                                 std::is_floating_point_v<Number> ? "a number" : "an integer"));
  }
  return n;
}

}  // namespace

int64_t parse_integer(const std::string& name, const std::string& value) {
  return parse_number<int64_t>(name, value);
}

bool parse_switch(const std::string& name, const std::string& value) {
  std::string v = value;
  std::transform(v.begin(), v.end(), v.begin(), [](unsigned char c) { return std::tolower(c); });
  if (v.empty() || v == "true" || v == "1" || v == "yes" || v == "y" || v == "t" || v == "on") return true;
  if (v == "false" || v == "0" || v == "no" || v == "n" || v == "f" || v == "off") return false;
  throw UsageError(fmt::format("--{} {}: true or false was expected", name, value));
}

namespace {

template <class Field>
struct Unwrap {
  using type = Field;
};
template <class Field>
struct Unwrap<std::optional<Field>> {
  using type = Field;
};

template <class Field>
void assign(Field& field, const std::string& name, const std::string& value) {
  using Plain = typename Unwrap<Field>::type;
  if constexpr (std::is_same_v<Plain, bool>)
    field = parse_switch(name, value);
  else if constexpr (std::is_same_v<Plain, std::string>)
    field = value;
  else
    field = parse_number<Plain>(name, value);
}

void need(bool ok, const std::string& text) {
  if (!ok) throw UsageError(text);
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

bool is_built_in(const std::string& name) { return listed(kBuiltIn, name) || fixed_values().contains(name); }

std::string refusal(const std::string& name) {
  if (listed(kNever, name)) return "it steers PyTorch or the hub's upload, which graft does not use";
  if (listed(kLater, name)) return "it is not implemented yet";
  return "";
}

void set_argument(TrainingArguments& arguments, const std::string& given, const std::string& value) {
  const std::string name = canonical_argument(given);
  for (const Argument& a : argument_table()) {
    if (name != a.name) continue;
    std::visit([&](auto member) { assign(arguments.*member, given, value); }, a.member);
    return;
  }
  if (listed(kBuiltIn, name)) return;
  if (name == "group_by_length") {
    if (parse_switch(given, value)) arguments.train_sampling_strategy = "group_by_length";
    return;
  }
  if (const auto it = fixed_values().find(name); it != fixed_values().end()) {
    std::string lower = value.empty() ? "true" : value;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    if (std::find(it->second.begin(), it->second.end(), lower) != it->second.end()) return;
  }
  if (const std::string reason = refusal(name); !reason.empty()) {
    throw UsageError(fmt::format("--{}{}{} is refused: {}", given, value.empty() ? "" : " ", value, reason));
  }
  std::vector<std::string> known;
  for (const Argument& a : argument_table()) known.emplace_back(a.name);
  for (const auto& [alias, to] : aliases()) known.push_back(alias);
  const std::string near = nearest_name(name, known);
  throw UsageError(fmt::format("--{} is not known", given),
                   near.empty() ? "" : "did you mean --" + near + "?");
}

void settle(TrainingArguments& a) {
  const auto strategy = [](const char* name, const std::string& value) {
    need(value == "no" || value == "steps" || value == "epoch",
         fmt::format("--{} {} is not known; there are: no, steps, epoch", name, value));
  };
  strategy("logging_strategy", a.logging_strategy);
  strategy("eval_strategy", a.eval_strategy);
  strategy("save_strategy", a.save_strategy);
  parse_schedule(a.lr_scheduler_type);
  data::parse_sampling(a.train_sampling_strategy);
  need(a.per_device_train_batch_size > 0, "--per_device_train_batch_size must be at least 1");
  need(a.per_device_eval_batch_size > 0, "--per_device_eval_batch_size must be at least 1");
  need(a.gradient_accumulation_steps > 0, "--gradient_accumulation_steps must be at least 1");
  need(a.max_steps > 0 || a.num_train_epochs > 0, "--num_train_epochs must be above 0");
  need(a.learning_rate >= 0, "--learning_rate must not be negative");
  need(a.logging_steps > 0, "--logging_steps must be above 0");
  need(a.save_steps > 0, "--save_steps must be above 0");
  need(a.warmup_steps >= 0 && a.warmup_ratio.value_or(0) >= 0 && a.warmup_ratio.value_or(0) <= 1,
       "warm-up must not be negative, a ratio not above 1");
  need(a.adam_beta1 >= 0 && a.adam_beta1 < 1 && a.adam_beta2 >= 0 && a.adam_beta2 < 1,
       "--adam_beta1 and --adam_beta2 must be in [0, 1)");
  need(a.adam_epsilon >= 0, "--adam_epsilon must not be negative");
  need(a.max_grad_norm >= 0, "--max_grad_norm must not be negative; 0 = no clipping");
  need(!a.save_total_limit || *a.save_total_limit > 0, "--save_total_limit must be at least 1");
  need(a.mlm_probability > 0 && a.mlm_probability <= 1, "--mlm_probability must be in (0, 1]");
  if (!a.eval_steps) a.eval_steps = a.logging_steps;
  need(*a.eval_steps > 0, "--eval_steps must be above 0");
  if (a.eval_strategy != "no") a.do_eval = true;
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
