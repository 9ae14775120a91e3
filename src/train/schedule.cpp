#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/nearest.h"
#include "train/argument_values.h"

namespace graft::train {
namespace {

constexpr double kPi = std::numbers::pi;
constexpr const char* kOption = "lr_scheduler_kwargs";

const std::vector<std::pair<std::string, ScheduleType>>& schedule_table() {
  using enum ScheduleType;
  static const std::vector<std::pair<std::string, ScheduleType>> table = {
      {"linear", linear},
      {"cosine", cosine},
      {"cosine_with_restarts", cosine_with_restarts},
      {"cosine_with_min_lr", cosine_with_min_lr},
      {"cosine_warmup_with_min_lr", cosine_warmup_with_min_lr},
      {"polynomial", polynomial},
      {"constant", constant},
      {"constant_with_warmup", constant_with_warmup},
      {"inverse_sqrt", inverse_sqrt},
      {"warmup_stable_decay", warmup_stable_decay},
      {"reduce_lr_on_plateau", reduce_lr_on_plateau},
  };
  return table;
}

std::string joined_names(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return list;
}

// A setting of a type: its name in the json object, and what takes its value.
struct ScheduleSetting {
  std::string name;
  std::function<void(const std::string& name, const Json& value)> set;
};

std::string setting_name(const std::string& name) { return fmt::format("{}: {}", kOption, name); }

ScheduleSetting number_setting(const char* name, double& to, const Range& range) {
  return {
      name, [&to, range](const std::string& key, const Json& value) {
        if (!value.is_number())
          throw UsageError(fmt::format("--{} is {}; a number was expected", setting_name(key), value.dump()));
        to = value.get<double>();
        check_range(setting_name(key), to, range);
      }};
}

ScheduleSetting whole_setting(const char* name, double& to, const Range& range) {
  ScheduleSetting s = number_setting(name, to, range);
  s.set = [&to, set = s.set](const std::string& key, const Json& value) {
    set(key, value);
    if (to != std::floor(to))
      throw UsageError(fmt::format("--{} is {}; a whole number was expected", setting_name(key), to));
  };
  return s;
}

template <class T>
ScheduleSetting choice_setting(const char* name, T& to, std::vector<std::pair<std::string, T>> choices) {
  return {name, [&to, choices](const std::string& key, const Json& value) {
            std::vector<std::string> names;
            for (const auto& [known, meaning] : choices) {
              if (value.is_string() && value.get<std::string>() == known) return void(to = meaning);
              names.push_back(known);
            }
            throw UsageError(fmt::format("--{} is {}; there are: {}", setting_name(key), value.dump(),
                                         joined_names(names)));
          }};
}

constexpr double kMost = 1e15;
constexpr Range kShare{0, 1}, kPositive{0, kMost, Range::Ends::without_min}, kCount{0, kMost};

std::vector<ScheduleSetting> plateau_settings(PlateauSettings& p, double& patience, double& cooldown) {
  using Bools = std::vector<std::pair<std::string, bool>>;
  return {choice_setting("mode", p.larger_is_better, Bools{{"min", false}, {"max", true}}),
          number_setting("factor", p.factor, {0, 1, Range::Ends::without_max}),
          whole_setting("patience", patience, kCount),
          number_setting("threshold", p.threshold, kCount),
          choice_setting("threshold_mode", p.relative, Bools{{"rel", true}, {"abs", false}}),
          whole_setting("cooldown", cooldown, kCount),
          number_setting("min_lr", p.min_lr, kCount),
          number_setting("eps", p.eps, kCount)};
}

// What parse_schedule reads besides the fields of Schedule; -1 = not given.
struct Extra {
  double min_lr = -1, min_lr_rate = -1, patience = 10, cooldown = 0;
};

std::vector<ScheduleSetting> schedule_settings(Schedule& s, Extra& extra) {
  using Ramps = std::vector<std::pair<std::string, Ramp>>;
  const Ramps ramps = {{"linear", Ramp::linear}, {"cosine", Ramp::cosine}, {"1-sqrt", Ramp::one_minus_sqrt}};
  const ScheduleSetting cycles = number_setting("num_cycles", s.num_cycles, kPositive);
  switch (s.type) {
    case ScheduleType::cosine:
      return {cycles};
    case ScheduleType::cosine_with_restarts:
      return {whole_setting("num_cycles", s.num_cycles, kPositive)};
    case ScheduleType::cosine_with_min_lr:
      return {number_setting("min_lr", extra.min_lr, kCount),
              number_setting("min_lr_rate", extra.min_lr_rate, kShare), cycles};
    case ScheduleType::cosine_warmup_with_min_lr:
      return {number_setting("min_lr", extra.min_lr, kCount),
              number_setting("min_lr_rate", extra.min_lr_rate, kShare),
              number_setting("warmup_lr_rate", s.warmup_lr_rate, kShare), cycles};
    case ScheduleType::polynomial:
      return {number_setting("lr_end", s.lr_end, kCount), number_setting("power", s.power, kPositive)};
    case ScheduleType::inverse_sqrt:
      return {whole_setting("timescale", s.timescale, kPositive)};
    case ScheduleType::warmup_stable_decay:
      return {whole_setting("num_decay_steps", s.num_decay_steps, kCount),
              whole_setting("num_stable_steps", s.num_stable_steps, kCount),
              choice_setting("warmup_type", s.warmup_type, ramps),
              choice_setting("decay_type", s.decay_type, ramps),
              number_setting("min_lr_ratio", s.min_lr_rate, kShare),
              cycles};
    case ScheduleType::reduce_lr_on_plateau:
      return plateau_settings(s.plateau, extra.patience, extra.cooldown);
    default:
      return {};
  }
}

Json read_kwargs(const std::string& kwargs) {
  if (kwargs.empty()) return Json::object();
  Json json;
  try {
    json = parse_json(kwargs, fmt::format("--{}", kOption));
  } catch (const Error& e) {
    throw UsageError(e.what(), "write a json object, for example '{\"num_cycles\": 2}'");
  }
  if (json.is_null()) return Json::object();
  if (!json.is_object())
    throw UsageError(fmt::format("--{} is {}; a json object was expected", kOption, json.dump()),
                     "write for example '{\"num_cycles\": 2}'");
  return json;
}

void read_schedule_kwargs(const std::string& type, const std::string& kwargs,
                          const std::vector<ScheduleSetting>& settings) {
  std::vector<std::string> names;
  names.reserve(settings.size());
  for (const ScheduleSetting& s : settings) names.push_back(s.name);
  const Json json = read_kwargs(kwargs);
  for (const auto& [key, value] : json.items()) {
    const std::string& name = key;
    const auto it = std::find_if(settings.begin(), settings.end(),
                                 [&](const ScheduleSetting& s) { return s.name == name; });
    if (it == settings.end()) {
      const std::string near = nearest_name(name, names);
      throw UsageError(fmt::format("--{}: \"{}\" is not a setting of {}, which has {}", kOption, name, type,
                                   names.empty() ? "none" : joined_names(names)),
                       near.empty() ? "" : "did you mean " + near + "?");
    }
    if (!value.is_null()) it->set(name, value);
  }
}

// What the reference's functions check.
void complete(Schedule& s, const std::string& type, const Extra& extra) {
  const auto needs = [&](const char* what, const char* example) {
    throw UsageError(fmt::format("--lr_scheduler_type {} needs {}", type, what),
                     fmt::format("give --{} '{{{}}}'", kOption, example));
  };
  if (s.type == ScheduleType::cosine_with_min_lr || s.type == ScheduleType::cosine_warmup_with_min_lr) {
    if (extra.min_lr >= 0 && extra.min_lr_rate >= 0)
      throw UsageError(fmt::format("--{}: min_lr and min_lr_rate contradict each other", kOption),
                       "give one of the two");
    if (extra.min_lr < 0 && extra.min_lr_rate < 0) needs("min_lr or min_lr_rate", "\"min_lr_rate\": 0.1");
    s.min_lr_rate = extra.min_lr < 0      ? extra.min_lr_rate
                    : s.learning_rate > 0 ? extra.min_lr / s.learning_rate
                                          : 0;
    if (s.min_lr_rate > 1)
      throw UsageError(fmt::format("--{}: min_lr is {}; it must not exceed --learning_rate {}", kOption,
                                   extra.min_lr, s.learning_rate));
  }
  if (s.type == ScheduleType::warmup_stable_decay && s.num_decay_steps < 0)
    needs("num_decay_steps", "\"num_decay_steps\": 100");
  if (s.type == ScheduleType::polynomial && s.learning_rate <= s.lr_end)
    throw UsageError(fmt::format("--{}: lr_end is {}; it must be below --learning_rate {}", kOption, s.lr_end,
                                 s.learning_rate));
  s.plateau.patience = static_cast<int64_t>(extra.patience);
  s.plateau.cooldown = static_cast<int64_t>(extra.cooldown);
}

}  // namespace

std::string schedule_names() {
  std::vector<std::string> names;
  for (const auto& [name, type] : schedule_table()) names.push_back(name);
  return joined_names(names);
}

Schedule parse_schedule(const std::string& type, const std::string& kwargs, double learning_rate) {
  Schedule s;
  s.learning_rate = learning_rate;
  std::vector<std::string> names;
  const auto& table = schedule_table();
  const auto it =
      std::find_if(table.begin(), table.end(), [&](const auto& entry) { return entry.first == type; });
  if (it == table.end()) {
    for (const auto& [name, meaning] : table) names.push_back(name);
    const std::string near = nearest_name(type, names);
    throw UsageError(
        fmt::format("--lr_scheduler_type {} is not implemented; there are: {}", type, joined_names(names)),
        near.empty() ? "" : "did you mean " + near + "?");
  }
  s.type = it->second;
  if (s.type == ScheduleType::cosine_with_restarts) s.num_cycles = 1;
  Extra extra;
  read_schedule_kwargs(type, kwargs, schedule_settings(s, extra));
  complete(s, type, extra);
  return s;
}

namespace {

double ratio(double a, double b) { return a / std::max(1.0, b); }

// From 1 at t = 0 to 0 at t = 1.
double falling(Ramp ramp, double t, double num_cycles) {
  if (ramp == Ramp::linear) return 1 - t;
  return ramp == Ramp::cosine ? 0.5 * (1 + std::cos(kPi * num_cycles * 2 * t)) : 1 - std::sqrt(t);
}

double rising(Ramp ramp, double t) {
  if (ramp == Ramp::linear) return t;
  return ramp == Ramp::cosine ? 0.5 * (1 - std::cos(kPi * t)) : 1 - std::sqrt(1 - t);
}

double with_floor(double factor, double floor) { return std::max(0.0, factor * (1 - floor) + floor); }

double warmup_stable_decay(const Schedule& s, double step, double warmup, double total) {
  const double stable = s.num_stable_steps < 0 ? total - warmup - s.num_decay_steps : s.num_stable_steps;
  if (step < warmup) return with_floor(rising(s.warmup_type, ratio(step, warmup)), s.min_lr_rate);
  if (step < warmup + stable) return 1;
  if (step >= warmup + stable + s.num_decay_steps) return s.min_lr_rate;
  const double t = ratio(step - warmup - stable, s.num_decay_steps);
  return with_floor(falling(s.decay_type, t, s.num_cycles), s.min_lr_rate);
}

double polynomial(const Schedule& s, double step, double warmup, double total) {
  if (step > total) return s.lr_end / s.learning_rate;
  const double left = 1 - ratio(step - warmup, total - warmup);
  return ((s.learning_rate - s.lr_end) * std::pow(left, s.power) + s.lr_end) / s.learning_rate;
}

double cosine_warmup_with_min_lr(const Schedule& s, double step, double warmup, double total) {
  if (step < warmup)
    return s.warmup_lr_rate < 0
               ? (step + 1) / std::max(1.0, warmup)
               : s.warmup_lr_rate + (1 - s.warmup_lr_rate) * step / std::max(1.0, warmup - 1);
  return with_floor(falling(Ramp::cosine, ratio(step - warmup + 1, total - warmup), s.num_cycles),
                    s.min_lr_rate);
}

}  // namespace

double schedule_factor(const Schedule& s, int64_t at, int64_t num_warmup_steps, int64_t num_training_steps) {
  const double step = static_cast<double>(at), warmup = static_cast<double>(num_warmup_steps),
               total = static_cast<double>(num_training_steps);
  if (s.is_constant()) return 1;
  if (s.type == ScheduleType::warmup_stable_decay) return warmup_stable_decay(s, step, warmup, total);
  if (s.type == ScheduleType::cosine_warmup_with_min_lr)
    return cosine_warmup_with_min_lr(s, step, warmup, total);
  if (step < warmup) return ratio(step, warmup);
  const double progress = ratio(step - warmup, total - warmup);
  switch (s.type) {
    case ScheduleType::linear:
      return std::max(0.0, ratio(total - step, total - warmup));
    case ScheduleType::cosine:
    case ScheduleType::cosine_with_min_lr:
      return with_floor(falling(Ramp::cosine, progress, s.num_cycles), s.min_lr_rate);
    case ScheduleType::cosine_with_restarts:
      return progress >= 1 ? 0 : 0.5 * (1 + std::cos(kPi * std::fmod(s.num_cycles * progress, 1.0)));
    case ScheduleType::polynomial:
      return polynomial(s, step, warmup, total);
    case ScheduleType::inverse_sqrt: {
      const double timescale = s.timescale > 0 ? s.timescale : warmup > 0 ? warmup : 10000;
      return 1 / std::sqrt((step + timescale - warmup) / timescale);
    }
    default:
      return 1;
  }
}

Plateau* carried_plateau(TrainState& state, const Schedule& schedule) {
  if (schedule.type != ScheduleType::reduce_lr_on_plateau) return nullptr;
  return &carried<Plateau>(state.stateful, Plateau::kKey, [&] {
    return std::make_unique<Plateau>(schedule.plateau, schedule.learning_rate);
  });
}

void follow(Plateau& plateau, const LogEntry& metrics, const std::string& metric_for_best_model) {
  std::string metric = metric_for_best_model.empty() ? "loss" : metric_for_best_model;
  if (!metric.starts_with("eval_")) metric = "eval_" + metric;
  const auto it =
      std::find_if(metrics.begin(), metrics.end(), [&](const auto& m) { return m.first == metric; });
  if (it == metrics.end())
    fail_with("give another --metric_for_best_model",
              "--lr_scheduler_type reduce_lr_on_plateau: the evaluation has no {}", metric);
  if (plateau.update(it->second))
    log_info("reduce_lr_on_plateau: {} has stopped improving; the learning rate is {:.3g} from here on",
             metric, plateau.rate());
}

}  // namespace graft::train
