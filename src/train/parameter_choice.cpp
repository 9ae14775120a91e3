#include "train/parameter_choice.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>
#include <string_view>

#include "base/error.h"
#include "base/log.h"
#include "models/bottleneck.h"
#include "models/bottleneck_folder.h"
#include "models/state.h"
#include "models/weights.h"
#include "train/argument_values.h"
#include "train/peft.h"

namespace graft::train {
namespace {

using engine::Parameter;
using engine::Part;

// Where a parameter stands, and in which layer.
struct Place {
  Part part;
  int64_t layer = 0;
};

// The number behind `scope.` in a name; -1 if it does not begin so.
int64_t number_behind(std::string_view name, const std::string& scope) {
  if (!name.starts_with(scope + ".")) return -1;
  int64_t i = 0;
  std::from_chars(name.data() + scope.size() + 1, name.data() + name.size(), i);
  return i;
}

// Layers of a decoder stand above those of its encoder, `encoder_layers` of them.
Place place_of(const models::Family& family, const std::string& name, int64_t encoder_layers) {
  if (!family.bare.empty() && name.starts_with(std::string(family.base_prefix) + "."))
    return place_of(family, models::other_backbone_name(family, name), encoder_layers);
  if (name.starts_with(std::string(family.embeddings) + ".")) return {Part::embeddings};
  if (models::is_invertible_tensor(name)) return {Part::embeddings};
  for (const char* scope : family.below_layers)
    if (name.starts_with(std::string(scope) + ".")) return {Part::embeddings};
  if (const int64_t i = number_behind(name, family.layers); i >= 0) return {Part::layer, i};
  if (!family.decoder_layers) return {Part::head};
  if (const int64_t i = number_behind(name, family.decoder_layers); i >= 0)
    return {Part::layer, encoder_layers + i};
  return {Part::head};
}

int64_t count_layers(const models::State& state, int64_t encoder_layers) {
  int64_t n = 0;
  for (const Parameter& p : state.parameters.parameters())
    if (const Place at = place_of(*state.family, p.name, encoder_layers); at.part == Part::layer)
      n = std::max(n, at.layer + 1);
  return n;
}

// Where the layers of a decoder begin.
int64_t count_encoder_layers(const models::State& state) {
  return state.family->decoder_layers ? state.config.layers(state.family->sizes.num_layers) : 0;
}

void check_layers(const char* option, int64_t asked, int64_t layers) {
  if (asked <= layers) return;
  throw UsageError(fmt::format("--{} is {}, but the model has {} layers", option, asked, layers));
}

void freeze_patterns(models::State& state, const std::string& patterns) {
  for (size_t begin = 0; begin <= patterns.size();) {
    const size_t end = std::min(patterns.find(',', begin), patterns.size());
    if (end > begin) {
      try {
        for (Parameter* p : state.parameters.select(patterns.substr(begin, end - begin)))
          p->trainable = false;
      } catch (const Error& e) {
        throw UsageError(fmt::format("--freeze: {}", e.what()), e.hint());
      }
    }
    begin = end + 1;
  }
}

// "pattern=value,pattern=value"
void set_weight_decay(models::State& state, const std::string& patterns) {
  for (size_t begin = 0; begin < patterns.size();) {
    const size_t end = std::min(patterns.find(',', begin), patterns.size());
    const std::string part = patterns.substr(begin, end - begin);
    begin = end + 1;
    if (part.empty()) continue;
    const size_t equals = part.rfind('=');
    if (equals == std::string::npos)
      throw UsageError(fmt::format("--weight_decay_patterns: \"{}\" has no value", part),
                       "write pattern=value, separated by commas, for example '*.bias=0.01'");
    const double value = parse_real("weight_decay_patterns", part.substr(equals + 1));
    check_range("weight_decay_patterns", value, {0, 1e3});
    try {
      for (Parameter* p : state.parameters.select(part.substr(0, equals))) p->weight_decay = value;
    } catch (const Error& e) {
      throw UsageError(fmt::format("--weight_decay_patterns: {}", e.what()), e.hint());
    }
  }
}

// Random weights that nothing trains are of no use.
void check_reinitialized(const models::State& state, const TrainingArguments& a, int64_t layers,
                         int64_t encoder_layers) {
  for (const Parameter& p : state.parameters.parameters()) {
    const Place at = place_of(*state.family, p.name, encoder_layers);
    if (at.part != Part::layer || at.layer < layers - a.reinit_layers || p.trainable) continue;
    throw UsageError(
        fmt::format("--reinit_layers {} gives {} random weights, but it is frozen and would keep them",
                    a.reinit_layers, p.name),
        "leave the reinitialized layers out of --freeze and --freeze_layers");
  }
}

// The endings of the names of the modules with adapters, each once: "query, value".
std::string adapted_modules(const models::State& state) {
  std::set<std::string> endings;
  for (const Parameter* matrix : state.adapter->matrices) {
    const std::string module = models::module_name(state, *matrix);
    endings.insert(module.substr(module.rfind('.') + 1));
  }
  return fmt::format("{}", fmt::join(endings, ", "));
}

// "lora: 73728 parameters in 12 modules (query, value) and 770 of classifier are trained: 0.33 % of 22.71 M"
void log_few(const models::State& state, const TrainingArguments& a) {
  double adapters = 0, beside = 0, base = 0;
  for (const Parameter& p : state.parameters.parameters()) {
    const auto size = static_cast<double>(p.size);
    if (!p.of_adapter && !p.frozen_adapter) base += size;
    if (p.trainable) (p.of_adapter ? adapters : beside) += size;
  }
  const std::string share = fmt::format("{:.3g} % of {:.2f} M", 100 * (adapters + beside) / base, base / 1e6);
  if (!state.saves_adapter())
    return log_info("{}: {:.0f} parameters are trained: {}", a.peft_type, beside, share);
  const models::PeftConfig& config = state.adapter->config;
  const std::string modules = config.bottleneck ? "the head"
                                                : fmt::format("{}", fmt::join(config.modules_to_save, ", ")),
                    head = beside > 0 ? fmt::format(" and {:.0f} of {}", beside, modules) : "";
  if (config.bottleneck)
    return log_info("bottleneck: {:.0f} parameters in {} adapters{} are trained: {}", adapters,
                    models::count_bottlenecks(state), head, share);
  if (config.prompt)
    return log_info("{}: {:.0f} parameters of {} virtual tokens{} are trained: {}",
                    config.prompt->prefix ? "prefix_tuning" : "prompt_tuning", adapters,
                    config.prompt->num_virtual_tokens, head, share);
  log_info("{}: {:.0f} parameters in {} modules ({}){} are trained: {}",
           config.peft_type == models::PeftType::lora ? "lora" : "ia3", adapters,
           state.adapter->matrices.size(), adapted_modules(state), head, share);
}

void check_adapters(const models::State& state) {
  const auto& all = state.parameters.parameters();
  const auto has = [&](auto matches) { return std::any_of(all.begin(), all.end(), matches); };
  if (has([](const Parameter& p) { return p.of_adapter; }) &&
      !has([](const Parameter& p) { return p.of_adapter && p.trainable; }))
    throw UsageError("all adapters are frozen: what would be saved is as it began",
                     "leave the adapters out of --freeze, or give a smaller --freeze_layers");
}

void log_choice(const models::State& state, const TrainingArguments& a) {
  double trained = 0, all = 0;
  for (const Parameter& p : state.parameters.parameters()) {
    all += static_cast<double>(p.size);
    if (p.trainable) trained += static_cast<double>(p.size);
  }
  if (trained == 0)
    throw UsageError("all parameters are frozen: nothing is left to train",
                     "freeze fewer with --freeze or --freeze_layers");
  check_adapters(state);
  if (a.peft_type == "linear_probing" && a.freeze_layers > 0)
    log_info("--freeze_layers has no effect here: linear_probing trains the head alone");
  if (state.saves_adapter() || !a.peft_type.empty())
    log_few(state, a);
  else if (trained < all)
    log_info("trained: {:.2f} M of {:.2f} M parameters; the others are frozen", trained / 1e6, all / 1e6);
  if (a.reinit_layers > 0)
    log_info("reinitialized: the top {} layer{}", a.reinit_layers, a.reinit_layers == 1 ? "" : "s");
}

}  // namespace

void choose_parameters(Model& model, const TrainingArguments& a) {
  models::State& state = model.state();
  const int64_t encoder_layers = count_encoder_layers(state), layers = count_layers(state, encoder_layers);
  check_layers("freeze_layers", a.freeze_layers, layers);
  check_layers("reinit_layers", a.reinit_layers, layers);
  if (a.gradual_unfreezing > layers + 1)
    throw UsageError(
        fmt::format(
            "--gradual_unfreezing is {}, but below its head the model has {} layers and the embeddings",
            a.gradual_unfreezing, layers),
        fmt::format(
            "give the number of layers that each epoch adds; {} adds all of them after the first epoch",
            layers + 1));
  if (a.reinit_layers > 0 && state.saves_adapter())
    throw UsageError("--reinit_layers is refused for adapters: the layers of the base model are not saved",
                     "train all parameters (without --peft_type)");
  for (Parameter& p : state.parameters.parameters()) {
    const Place at = place_of(*state.family, p.name, encoder_layers);
    const bool below = at.part == Part::embeddings || (at.part == Part::layer && at.layer < a.freeze_layers);
    p.part = at.part;
    p.weight_decay.reset();
    p.trainable = !p.unused && is_chosen(state, p, a) && !(a.freeze_layers > 0 && below);
    // The head and the top layer have the rate itself, each part below it one factor more (Zhang et al. 2021,
    // "Revisiting Few-sample BERT Fine-tuning").
    p.depth = at.part == Part::head ? 0 : at.part == Part::layer ? layers - at.layer : layers + 1;
    p.lr_scale = std::pow(a.layerwise_lr_decay, static_cast<double>(std::max<int64_t>(0, p.depth - 1)));
    if (at.part == Part::layer && at.layer >= layers - a.reinit_layers)
      models::initialize_parameter(state, p, a.seed);
  }
  if (a.reinit_layers > 0) state.parameters.touch_values();
  freeze_patterns(state, a.freeze);
  set_weight_decay(state, a.weight_decay_patterns);
  if (a.reinit_layers > 0) check_reinitialized(state, a, layers, encoder_layers);
  log_choice(state, a);
}

}  // namespace graft::train
