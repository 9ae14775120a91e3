#include "train/optim_choice.h"

#include <algorithm>
#include <cctype>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/nearest.h"
#include "train/argument_values.h"

namespace graft::train {

using engine::UpdateKind;

namespace {

enum class OptimName : uint8_t { adamw, adamw_8bit, adafactor, sgd, lion, muon, rmsprop, adagrad };

// The reference's names (transformers.training_args.OptimizerNames), and muon.
const std::vector<std::pair<std::string, OptimName>>& optim_table() {
  static const std::vector<std::pair<std::string, OptimName>> table = {
      {"adamw_torch", OptimName::adamw},
      {"adamw_torch_fused", OptimName::adamw},
      {"adamw_8bit", OptimName::adamw_8bit},
      {"adamw_bnb_8bit", OptimName::adamw_8bit},
      {"adafactor", OptimName::adafactor},
      {"sgd", OptimName::sgd},
      {"lion", OptimName::lion},
      {"lion_32bit", OptimName::lion},
      {"muon", OptimName::muon},
      {"rmsprop", OptimName::rmsprop},
      {"adagrad", OptimName::adagrad}};
  return table;
}

std::vector<std::string> known_optims() {
  std::vector<std::string> names;
  for (const auto& [name, meaning] : optim_table()) names.push_back(name);
  return names;
}

std::string comma_list(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return list;
}

using SetOptim = std::function<void(const std::string& name, const std::string& value)>;
using OptimSettings = std::vector<std::pair<std::string, SetOptim>>;

std::string full_name(const std::string& setting) { return "optim_args: " + setting; }

SetOptim real_setting(double& to, const Range& range) {
  return [&to, range](const std::string& name, const std::string& value) {
    to = parse_real(full_name(name), value);
    check_range(full_name(name), to, range);
  };
}
SetOptim flag_setting(bool& to) {
  return
      [&to](const std::string& name, const std::string& value) { to = parse_switch(full_name(name), value); };
}

OptimSettings optim_settings(OptimName name, OptimChoice& c) {
  constexpr Range kBelowOne{0, 1, Range::Ends::without_max}, kEps{1e-30, 1};
  switch (name) {
    case OptimName::sgd:
      return {{"momentum", real_setting(c.rule.momentum, kBelowOne)},
              {"dampening", real_setting(c.rule.dampening, {0, 1})},
              {"nesterov", flag_setting(c.rule.nesterov)}};
    case OptimName::rmsprop:
      return {{"momentum", real_setting(c.rule.momentum, kBelowOne)},
              {"alpha", real_setting(c.rule.beta2, kBelowOne)},
              {"eps", real_setting(c.rule.epsilon, kEps)}};
    case OptimName::adagrad:
      return {{"lr_decay", real_setting(c.rule.lr_decay, {0, 1e6})},
              {"eps", real_setting(c.rule.epsilon, kEps)}};
    case OptimName::muon:
      return {{"momentum", real_setting(c.muon.momentum, kBelowOne)},
              {"nesterov", flag_setting(c.muon.nesterov)},
              {"ns_steps",
               [&c](const std::string& setting, const std::string& value) {
                 c.muon.ns_steps = parse_integer(full_name(setting), value);
                 check_range(full_name(setting), static_cast<double>(c.muon.ns_steps), {1, 99});
               }},
              {"adjust_lr_fn", [&c](const std::string& setting, const std::string& value) {
                 if (value != "original" && value != "match_rms_adamw")
                   throw UsageError(fmt::format("--{} is {}; there are: original, match_rms_adamw",
                                                full_name(setting), value));
                 c.muon.match_rms_adamw = value == "match_rms_adamw";
               }}};
    default:
      return {};
  }
}

// "momentum=0.9,nesterov=true"
void read_optim_args(const TrainingArguments& a, const OptimSettings& settings) {
  std::vector<std::string> names;
  for (const auto& [name, set] : settings) names.push_back(name);
  for (size_t begin = 0; begin < a.optim_args.size();) {
    const size_t end = std::min(a.optim_args.find(',', begin), a.optim_args.size());
    const std::string part = a.optim_args.substr(begin, end - begin);
    begin = end + 1;
    const size_t first = part.find_first_not_of(' '), equals = part.find('=');
    if (first == std::string::npos) continue;
    if (equals == std::string::npos)
      throw UsageError(fmt::format("--optim_args: \"{}\" has no value", part),
                       "write name=value, separated by commas");
    const std::string name = part.substr(first, equals - first), value = part.substr(equals + 1);
    const auto it =
        std::find_if(settings.begin(), settings.end(), [&](const auto& s) { return s.first == name; });
    if (it != settings.end()) {
      it->second(name, value);
      continue;
    }
    const std::string near = nearest_name(name, names);
    throw UsageError(fmt::format("--optim_args: \"{}\" is not a setting of {}, which has {}", name, a.optim,
                                 names.empty() ? "none" : comma_list(names)),
                     name == "weight_decay" ? "use --weight_decay"
                     : near.empty()         ? ""
                                            : "did you mean " + near + "?");
  }
}

// The optimizer that another name of the same update means: adamw_hf, adamw_torch_xla, adam, rmsprop_bnb,
// lion_8bit.
const char* relative_of(const std::string& name) {
  std::string lower = name;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  if (lower.starts_with("adam") && lower.find("8bit") != std::string::npos) return "adamw_8bit";
  if (lower == "adam" || lower.starts_with("adamw")) return "adamw_torch";
  for (const char* family : {"lion", "rmsprop", "adagrad", "sgd", "muon"})
    if (lower.starts_with(family)) return family;
  return nullptr;
}

OptimName find_optim(const std::string& name) {
  for (const auto& [known, meaning] : optim_table())
    if (known == name) return meaning;
  if (name.starts_with("paged_"))
    throw UsageError(
        fmt::format("--optim {} is refused: paging moves states between a GPU and the host", name),
        "use --optim adamw_8bit to save memory");
  const std::string near = nearest_name(name, known_optims());
  const char* other = relative_of(name);
  throw UsageError(
      fmt::format("--optim {} is not implemented; there are: {}", name, comma_list(known_optims())),
      !near.empty() ? "did you mean " + near + "?"
      : other       ? fmt::format("use --optim {}", other)
                    : "");
}

}  // namespace

std::string optim_names() { return comma_list(known_optims()); }

OptimChoice choose_optim(const TrainingArguments& a) {
  const OptimName name = find_optim(a.optim);
  OptimChoice c;
  c.rule.beta1 = a.adam_beta1, c.rule.beta2 = a.adam_beta2, c.rule.epsilon = a.adam_epsilon;
  c.rule.weight_decay = c.muon.weight_decay = a.weight_decay;
  c.is_adam = name == OptimName::adamw || name == OptimName::adamw_8bit || name == OptimName::muon ||
              name == OptimName::lion;
  switch (name) {
    case OptimName::adamw:
      break;
    case OptimName::adamw_8bit:
      c.optim = Optim::adamw_8bit;
      break;
    case OptimName::adafactor:
      c.optim = Optim::adafactor;
      break;
    case OptimName::muon:
      c.optim = Optim::muon;
      break;
    case OptimName::sgd:
      c.rule.kind = UpdateKind::sgd;
      break;
    case OptimName::lion:
      c.rule.kind = UpdateKind::lion;
      break;
    case OptimName::rmsprop:  // torch.optim's defaults
      c.rule.kind = UpdateKind::rmsprop, c.rule.beta2 = 0.99, c.rule.epsilon = 1e-8;
      break;
    case OptimName::adagrad:
      c.rule.kind = UpdateKind::adagrad, c.rule.epsilon = 1e-10;
      break;
  }
  read_optim_args(a, optim_settings(name, c));
  if (c.rule.nesterov && (c.rule.momentum == 0 || c.rule.dampening != 0))
    throw UsageError("--optim_args: nesterov=true needs a momentum, and no dampening",
                     "give --optim_args momentum=0.9,nesterov=true");
  return c;
}

}  // namespace graft::train
