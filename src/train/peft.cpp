#include "train/peft.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/nearest.h"
#include "models/state.h"
#include "train/argument_values.h"
#include "train/arguments.h"
#include "train/reports.h"

namespace graft::train {
namespace {

using models::PeftConfig;
using models::PeftType;

// A method and the options that it has.
struct PeftMethod {
  const char* name;
  std::vector<const char*> options;
};

const std::vector<const char*>& bottleneck_options() {
  static const std::vector<const char*> names = {
      "reduction_factor",  "non_linearity", "mh_adapter", "output_adapter",     "original_ln_before",
      "original_ln_after", "ln_before",     "ln_after",   "residual_before_ln", "adapter_residual_before_ln",
      "adapter_scaling",   "init_weights",  "leave_out",  "adapter_dropout"};
  return names;
}

std::vector<const char*> invertible_options() {
  std::vector<const char*> names = bottleneck_options();
  names.push_back("inv_adapter_reduction_factor");
  return names;
}

const std::vector<PeftMethod>& peft_methods() {
  static const std::vector<PeftMethod> table = {
      {"lora",
       {"lora_r", "lora_alpha", "lora_dropout", "target_modules", "modules_to_save", "layers_to_transform",
        "use_rslora", "use_dora", "init_lora_weights"}},
      {"ia3", {"target_modules", "modules_to_save", "layers_to_transform"}},
      {"prompt_tuning",
       {"num_virtual_tokens", "prompt_tuning_init", "prompt_tuning_init_text", "modules_to_save"}},
      {"prefix_tuning", {"num_virtual_tokens", "modules_to_save"}},
      {"seq_bn", bottleneck_options()},
      {"double_seq_bn", bottleneck_options()},
      {"par_bn", bottleneck_options()},
      {"seq_bn_inv", invertible_options()},
      {"double_seq_bn_inv", invertible_options()},
      {"bitfit", {}},
      {"linear_probing", {}}};
  return table;
}

void check_known(const char* option, const std::string& value, const std::vector<std::string>& known) {
  if (std::find(known.begin(), known.end(), value) != known.end()) return;
  std::string list;
  for (const std::string& name : known) list += (list.empty() ? "" : ", ") + name;
  const std::string near = nearest_name(value, known);
  throw UsageError(fmt::format("--{} {} is not implemented; there are: {}", option, value, list),
                   near.empty() ? "" : "did you mean " + near + "?");
}

std::string init_of(const TrainingArguments& a) {
  return a.init_lora_weights == "True" ? "true" : a.init_lora_weights;
}

std::vector<int64_t> layers_of(const char* option, const std::string& words) {
  std::vector<int64_t> layers;
  for (const std::string& word : words_of(words)) {
    layers.push_back(parse_integer(option, word));
    check_range(option, static_cast<double>(layers.back()), {0, 1e4});
  }
  return layers;
}

bool is_bottleneck(const std::string& peft_type) {
  const std::string name = models::bottleneck_name(peft_type);
  return name == "seq_bn" || name == "double_seq_bn" || name == "par_bn" || name == "seq_bn_inv" ||
         name == "double_seq_bn_inv";
}

// The configuration of the peft_type with what the arguments change.
models::BottleneckConfig bottleneck_of_arguments(const TrainingArguments& a) {
  models::BottleneckConfig c = models::BottleneckConfig::of_name(a.peft_type);
  c.mh_adapter = a.mh_adapter.value_or(c.mh_adapter);
  c.output_adapter = a.output_adapter.value_or(c.output_adapter);
  c.reduction_factor = a.reduction_factor.value_or(c.reduction_factor);
  if (!a.non_linearity.empty()) c.non_linearity = a.non_linearity;
  c.original_ln_before = a.original_ln_before.value_or(c.original_ln_before);
  c.original_ln_after = a.original_ln_after.value_or(c.original_ln_after);
  c.ln_before = a.ln_before.value_or(c.ln_before);
  c.ln_after = a.ln_after.value_or(c.ln_after);
  if (a.residual_before_ln == "post_add")
    c.residual_before_ln = "post_add";
  else if (!a.residual_before_ln.empty())
    c.residual_before_ln = parse_switch("residual_before_ln", a.residual_before_ln) ? "true" : "false";
  c.adapter_residual_before_ln = a.adapter_residual_before_ln.value_or(c.adapter_residual_before_ln);
  if (a.adapter_scaling == "learned" || a.adapter_scaling == "channel")
    c.trained_scaling = a.adapter_scaling;
  else if (!a.adapter_scaling.empty())
    c.scaling = parse_real("adapter_scaling", a.adapter_scaling);
  if (!a.init_weights.empty()) c.init_weights = a.init_weights;
  c.leave_out = layers_of("leave_out", a.leave_out);
  c.inv_adapter_reduction_factor = a.inv_adapter_reduction_factor.value_or(c.inv_adapter_reduction_factor);
  c.dropout = a.adapter_dropout;
  try {
    c.check("--peft_type " + a.peft_type);
  } catch (const Error& e) {
    throw UsageError(e.what(), e.hint());
  }
  return c;
}

bool has_virtual_tokens(const TrainingArguments& a) {
  return a.peft_type == "prompt_tuning" || a.peft_type == "prefix_tuning";
}

PeftConfig config_of_arguments(const TrainingArguments& a) {
  PeftConfig c;
  if (is_bottleneck(a.peft_type)) {
    c.peft_type = PeftType::bottleneck;
    c.bottleneck = bottleneck_of_arguments(a);
    return c;
  }
  if (has_virtual_tokens(a)) {
    const bool prefix = a.peft_type == "prefix_tuning";
    c.peft_type = prefix ? PeftType::prefix_tuning : PeftType::prompt_tuning;
    c.prompt.emplace();
    c.prompt->prefix = prefix;
    c.prompt->num_virtual_tokens = a.num_virtual_tokens;
    c.prompt->prompt_tuning_init = a.prompt_tuning_init;
    c.prompt->prompt_tuning_init_text = a.prompt_tuning_init_text;
    c.modules_to_save = words_of(a.modules_to_save);
    return c;
  }
  c.peft_type = a.peft_type == "ia3" ? PeftType::ia3 : PeftType::lora;
  c.r = a.lora_r;
  c.lora_alpha = a.lora_alpha;
  c.lora_dropout = a.lora_dropout;
  c.use_rslora = a.use_rslora;
  c.use_dora = a.use_dora;
  c.init_lora_weights = init_of(a);
  c.target_modules = words_of(a.target_modules);
  c.modules_to_save = words_of(a.modules_to_save);
  c.layers_to_transform = layers_of("layers_to_transform", a.layers_to_transform);
  return c;
}

bool makes_adapter(const TrainingArguments& a) {
  return a.peft_type == "lora" || a.peft_type == "ia3" || has_virtual_tokens(a) || is_bottleneck(a.peft_type);
}

// BitFit and linear probing train a head; only the last can read the encoder's results from a cache.
void check_head(const models::State& state, const TrainingArguments& a) {
  if (state.head->predicts_tokens || state.head->is_bare)
    throw UsageError(
        fmt::format("--peft_type {} is refused for --task {}: the model has no head of its own to train",
                    a.peft_type, state.task),
        "--peft_type lora trains adapters");
}

// A model with adapters is trained further.
void check_same(const models::State& state, const TrainingArguments& a) {
  if (!a.peft_type.empty() && !makes_adapter(a))
    throw UsageError(
        fmt::format("--peft_type {}: the model in {} has adapters", a.peft_type, state.origin.string()),
        state.adapter->config.bottleneck || state.adapter->config.prompt
            ? "start from their base model"
            : "graft merge makes a whole model of it");
  const PeftConfig& has = state.adapter->config;
  const bool lora = has.peft_type == PeftType::lora;
  if (a.peft_type.empty()) return log_info("{}: its adapters are trained further", state.origin.string());
  const PeftConfig asked = config_of_arguments(a);
  const bool same = asked.peft_type == has.peft_type &&
                    (!has.bottleneck || asked.bottleneck->json() == has.bottleneck->json()) &&
                    (!has.prompt || asked.prompt->num_virtual_tokens == has.prompt->num_virtual_tokens) &&
                    (!lora || (asked.r == has.r && asked.lora_alpha == has.lora_alpha &&
                               asked.use_dora == has.use_dora && asked.use_rslora == has.use_rslora));
  if (!same)
    throw UsageError(
        fmt::format("--peft_type {}: the model in {} has other adapters already ({})", a.peft_type,
                    state.origin.string(),
                    lora             ? fmt::format("lora, r {}, alpha {}", has.r, has.lora_alpha)
                    : has.prompt     ? fmt::format("{} virtual tokens", has.prompt->num_virtual_tokens)
                    : has.bottleneck ? "bottlenecks, \"config\" in adapter_config.json"
                                     : "ia3"),
        "leave --peft_type out to train them further");
}

void check_prompt(const TrainingArguments& a) {
  check_known("prompt_tuning_init", a.prompt_tuning_init, {"RANDOM", "TEXT"});
  if (a.prompt_tuning_init == "TEXT" && a.prompt_tuning_init_text.empty())
    throw UsageError("--prompt_tuning_init TEXT needs --prompt_tuning_init_text");
  if (a.prompt_tuning_init != "TEXT" && !a.prompt_tuning_init_text.empty())
    throw UsageError("--prompt_tuning_init_text is for --prompt_tuning_init TEXT, which is not given");
}

// The tokens of --prompt_tuning_init_text, with the special ones, as peft has them.
std::vector<int32_t> prompt_ids_of(const TrainingArguments& a, const Tokenizer& tokenizer) {
  if (a.peft_type != "prompt_tuning" || a.prompt_tuning_init != "TEXT") return {};
  std::vector<int32_t> ids = tokenizer.encode(a.prompt_tuning_init_text).input_ids;
  if (ids.empty())
    throw UsageError(fmt::format("--prompt_tuning_init_text {}: the tokenizer finds no token in it",
                                 a.prompt_tuning_init_text));
  return ids;
}

// Noise is on the embeddings of words, whose number decides how much.
void check_noise(const models::State& state, const TrainingArguments& a) {
  if (state.network.num_virtual_tokens() > 0 && a.neftune_noise_alpha > 0)
    throw UsageError(
        "--neftune_noise_alpha is refused with virtual tokens: the word embeddings are not trained");
}

// What is trained above a language adapter.
void check_stack(const models::State& state, const TrainingArguments& a) {
  if (!state.language) return;
  const std::string name = models::bottleneck_name(a.peft_type);
  if (name == "seq_bn" || name == "double_seq_bn") return;
  const char* hint = "--peft_type seq_bn trains a task adapter above the language adapter";
  if (name.empty())
    throw UsageError("--load_lang_adapter needs --peft_type: a language adapter is not trained further here",
                     hint);
  throw UsageError(
      fmt::format("--peft_type {} is refused with --load_lang_adapter: {}", a.peft_type,
                  !is_bottleneck(a.peft_type) ? "a task adapter above a language adapter is a bottleneck"
                  : name == "par_bn" ? "a parallel adapter does not read the language adapter's output"
                                     : "the invertible adapter is that of the language adapter"),
      hint);
}

}  // namespace

void check_peft(const TrainingArguments& a) {
  std::vector<std::string> names;
  const PeftMethod* method = nullptr;
  for (const PeftMethod& m : peft_methods()) {
    names.emplace_back(m.name);
    if (models::bottleneck_name(a.peft_type) == m.name) method = &m;
  }
  if (!a.peft_type.empty()) check_known("peft_type", models::bottleneck_name(a.peft_type), names);
  static const Json defaults = to_json(TrainingArguments());
  const Json given = to_json(a);
  for (const PeftMethod& other : peft_methods())
    for (const char* option : other.options) {
      if (given.at(option) == defaults.at(option)) continue;
      const auto has = [&](const PeftMethod& m) {
        return std::any_of(m.options.begin(), m.options.end(),
                           [&](const char* o) { return std::string_view(o) == option; });
      };
      if (method && has(*method)) continue;
      throw UsageError(
          fmt::format("--{} is for --peft_type {}{}", option, other.name,
                      method ? fmt::format(", not for {}", method->name) : ", which is not given"));
    }
  check_known("init_lora_weights", init_of(a), {"true", "gaussian", "pissa"});
  if (a.use_dora && init_of(a) == "pissa")
    throw UsageError("--init_lora_weights pissa is refused with --use_dora",
                     "each changes what the weights of the base model are; give one of them");
  check_prompt(a);
  layers_of("layers_to_transform", a.layers_to_transform);
  if (is_bottleneck(a.peft_type)) bottleneck_of_arguments(a);
  if (a.peft_type == "linear_probing" && (a.neftune_noise_alpha > 0 || a.gradient_checkpointing))
    throw UsageError(
        fmt::format("--{} is refused with --peft_type linear_probing: the encoder runs once",
                    a.gradient_checkpointing ? "gradient_checkpointing" : "neftune_noise_alpha"));
  if (method && a.mixout > 0)
    throw UsageError("--mixout is refused with --peft_type: the pretrained weights do not move",
                     "give --lora_dropout with lora, --adapter_dropout with bottleneck adapters");
}

bool is_chosen(const models::State& state, const engine::Parameter& p, const TrainingArguments& a) {
  if (state.saves_adapter()) return p.of_adapter || p.with_adapter;
  if (p.of_adapter) return false;
  if (a.peft_type != "bitfit" && a.peft_type != "linear_probing") return true;
  const std::vector<std::string>& missing = state.report.missing;
  return !models::is_backbone(*state.family, p.name) ||
         std::find(missing.begin(), missing.end(), p.name) != missing.end() ||
         (a.peft_type == "bitfit" && p.name.ends_with(".bias"));
}

int64_t new_virtual_tokens(const Model& model, const TrainingArguments& a) {
  return has_virtual_tokens(a) && !model.state().adapter ? a.num_virtual_tokens : 0;
}

void add_adapter(Model& model, const TrainingArguments& a, const Tokenizer& tokenizer) {
  models::State& state = model.state();
  if (state.saves_adapter()) {
    check_same(state, a);
    return check_noise(state, a);
  }
  check_stack(state, a);
  if (a.peft_type.empty()) return;
  if (!makes_adapter(a)) return check_head(state, a);
  if (const std::string name = models::bottleneck_name(a.peft_type); name != a.peft_type)
    log_info("--peft_type {} is the older name of {}", a.peft_type, name);
  models::add_adapter(state, config_of_arguments(a), a.seed, prompt_ids_of(a, tokenizer));
  check_noise(state, a);
}

}  // namespace graft::train
