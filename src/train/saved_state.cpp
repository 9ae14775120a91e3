#include "train/saved_state.h"

#include <cmath>
#include <limits>

#include "base/error.h"

namespace graft::train {
namespace {

constexpr const char* kOwn = "graft";  // the entry of "stateful_callbacks"

Json entry_to_json(const LogEntry& entry) {
  Json json = Json::object();
  for (const auto& [name, value] : entry) json[name] = value;
  return json;
}

// null is a number that is not finite.
double number_of(const Json& value) {
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

LogEntry entry_of(const Json& json) {
  LogEntry entry;
  for (const auto& [name, value] : json.items()) entry.emplace_back(name, number_of(value));
  return entry;
}

Json own_state(const TrainState& s) {
  Json parts = Json::object();
  for (const std::unique_ptr<Stateful>& part : s.stateful) parts[part->key()] = part->values();
  return {{"total_loss", s.total_loss},
          {"window_loss", s.window_loss},
          {"epoch_loss", s.epoch_loss},
          {"logged_at", s.logged_at},
          {"epoch_steps", s.epoch_steps},
          {"evaluated_at", s.evaluated_at},
          {"last_metrics", entry_to_json(s.last_metrics)},
          {"skipped_steps", s.skipped_steps},
          {"data_step", s.data_step},
          {"data_epoch", s.data_epoch},
          {"checkpoints", Json(s.checkpoints)},
          {"parts", parts}};
}

Json callbacks_of(const TrainState& s, const TrainingArguments& a) {
  Json callbacks = Json::object();
  if (a.early_stopping_patience)
    callbacks["EarlyStoppingCallback"] = {
        {"args",
         {{"early_stopping_patience", *a.early_stopping_patience},
          {"early_stopping_threshold", a.early_stopping_threshold}}},
        {"attributes", {{"early_stopping_patience_counter", s.evaluations_without_gain}}}};
  callbacks[kOwn] = own_state(s);
  return callbacks;
}

void read_own(const Json& own, TrainState& s) {
  s.total_loss = own.at("total_loss").get<double>();
  s.window_loss = own.at("window_loss").get<double>();
  s.epoch_loss = own.at("epoch_loss").get<double>();
  s.logged_at = own.at("logged_at").get<int64_t>();
  s.epoch_steps = own.at("epoch_steps").get<int64_t>();
  s.evaluated_at = own.at("evaluated_at").get<int64_t>();
  s.last_metrics = entry_of(own.at("last_metrics"));
  s.skipped_steps = own.at("skipped_steps").get<int64_t>();
  s.data_step = own.at("data_step").get<int64_t>();
  s.data_epoch = own.at("data_epoch").get<int64_t>();
  s.checkpoints = own.at("checkpoints").get<std::vector<int64_t>>();
}

}  // namespace

Json to_json(const TrainState& s, const StepPlan& plan, const TrainingArguments& a) {
  const bool best = s.best_step >= 0;
  return {{"best_global_step", best ? Json(s.best_step) : Json(nullptr)},
          {"best_metric", best ? Json(s.best_metric) : Json(nullptr)},
          {"best_model_checkpoint", best ? Json(a.output_dir + "/best") : Json(nullptr)},
          {"epoch", s.epoch},
          {"eval_steps", plan.eval_steps},
          {"global_step", s.step},
          {"is_hyper_param_search", false},
          {"is_local_process_zero", true},
          {"is_world_process_zero", true},
          {"log_history", s.history},
          {"logging_steps", plan.logging_steps},
          {"max_steps", plan.total_steps},
          {"num_input_tokens_seen", s.num_input_tokens_seen},
          {"num_train_epochs", plan.num_epochs},
          {"save_steps", plan.save_steps},
          {"stateful_callbacks", callbacks_of(s, a)},
          {"train_batch_size", a.per_device_train_batch_size}};
}

void read_state(const Json& json, const std::string& file, TrainState& s) try {
  const Json& callbacks = json.at("stateful_callbacks");
  s.step = json.at("global_step").get<int64_t>();
  s.epoch = json.at("epoch").get<double>();
  s.num_input_tokens_seen = json.at("num_input_tokens_seen").get<int64_t>();
  s.history = json.at("log_history");
  read_own(callbacks.at(kOwn), s);
  s.best_step = json.at("best_global_step").is_null() ? -1 : json.at("best_global_step").get<int64_t>();
  s.best_metric = s.best_step < 0 ? 0 : json.at("best_metric").get<double>();
  if (const auto it = callbacks.find("EarlyStoppingCallback"); it != callbacks.end())
    s.evaluations_without_gain = it->at("attributes").at("early_stopping_patience_counter").get<int64_t>();
} catch (const JsonError& e) {
  fail_with("graft resumes from the checkpoints that it wrote itself", "{}: {}", file, e.what());
}

const Json* stateful_values(const Json& json, const std::string& key) {
  const Json& parts = json.at("stateful_callbacks").at(kOwn).at("parts");
  const auto it = parts.find(key);
  return it == parts.end() ? nullptr : &*it;
}

}  // namespace graft::train
