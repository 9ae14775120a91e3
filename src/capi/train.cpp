#include "capi/train.h"

#include <map>

#include "base/error.h"
#include "base/folder.h"
#include "base/json.h"
#include "graft/hub.h"
#include "train/arguments.h"
#include "train/job.h"

namespace graft {
namespace {

using train::TrainJob;

// Options of a job that are not training arguments.
const std::map<std::string, std::string TrainJob::*>& texts() {
  static const std::map<std::string, std::string TrainJob::*> table = {
      {"model", &TrainJob::model},
      {"task", &TrainJob::task_name},
      {"config_name", &TrainJob::config_name},
      {"tokenizer_name", &TrainJob::tokenizer_name}};
  return table;
}
const std::map<std::string, std::vector<std::string> TrainJob::*>& files() {
  static const std::map<std::string, std::vector<std::string> TrainJob::*> table = {
      {"train_file", &TrainJob::train_file},
      {"validation_file", &TrainJob::validation_file},
      {"test_file", &TrainJob::test_file}};
  return table;
}
const std::map<std::string, std::string DatasetOptions::*>& columns() {
  static const std::map<std::string, std::string DatasetOptions::*> table = {
      {"text_column", &DatasetOptions::text_column},
      {"text_pair_column", &DatasetOptions::text_pair_column},
      {"label_column", &DatasetOptions::label_column}};
  return table;
}
const std::map<std::string, bool TrainJob::*>& switches() {
  static const std::map<std::string, bool TrainJob::*> table = {
      {"ignore_mismatched_sizes", &TrainJob::ignore_mismatched_sizes},
      {"overwrite_output_dir", &TrainJob::overwrite_output_dir},
      {"line_by_line", &TrainJob::line_by_line}};
  return table;
}
const std::map<std::string, int64_t TrainJob::*>& counts() {
  static const std::map<std::string, int64_t TrainJob::*> table = {
      {"max_train_samples", &TrainJob::max_train_samples},
      {"max_eval_samples", &TrainJob::max_eval_samples},
      {"max_predict_samples", &TrainJob::max_predict_samples}};
  return table;
}

std::string text_of(const std::string& name, const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number() || value.is_boolean()) return value.dump();
  throw UsageError(fmt::format("graft_train: \"{}\" must be a string, a number or true or false, not {}",
                               name, value.dump()));
}

void set_option(TrainJob& job, const std::string& name, const Json& value) {
  if (const auto it = files().find(name); it != files().end()) {
    std::vector<std::string>& list = job.*it->second;
    if (!value.is_array()) return list.push_back(text_of(name, value));
    for (const Json& file : value) list.push_back(text_of(name, file));
    return;
  }
  const std::string text = text_of(name, value);
  constexpr train::Range kSamples{1, 1e12};
  if (const auto t = texts().find(name); t != texts().end())
    job.*t->second = text;
  else if (const auto c = columns().find(name); c != columns().end())
    job.columns.*c->second = text;
  else if (const auto s = switches().find(name); s != switches().end())
    job.*s->second = train::parse_switch(name, text);
  else if (const auto n = counts().find(name); n != counts().end())
    train::check_range(name, static_cast<double>(job.*n->second = train::parse_integer(name, text)),
                       kSamples);
  else
    train::set_argument(job.arguments, name, text);
}

TrainJob job_of(const std::string& options) {
  const Json json = parse_json(options, "graft_train: options");
  if (!json.is_object()) fail("graft_train: options must be a JSON object");
  TrainJob job;
  for (const auto& [name, value] : json.items())
    if (!value.is_null()) set_option(job, name, value);
  train::check_job(job);
  if (!json.contains("do_eval")) job.arguments.do_eval |= !job.validation_file.empty();
  return job;
}

std::string line_of(const LogEntry& entry) {
  Json json = Json::object();
  for (const auto& [name, value] : entry) json[name] = value;
  return json.dump();
}

}  // namespace

void train_from_json(const std::string& options, const graft_train_callbacks& callbacks) {
  const TrainJob job = job_of(options);
  train::check_output_dir(job);
  const bool random_weights = job.model.empty();
  const std::string& name = random_weights ? job.config_name : job.model;
  const std::filesystem::path checkpoint =
      random_weights && path_exists(name) ? std::filesystem::path(name) : resolve_model(name);
  TaskData data =
      train::load_data(job, job.tokenizer_name.empty() ? checkpoint : resolve_model(job.tokenizer_name));
  const Model model = train::load_model(job, checkpoint, data);
  Trainer trainer(model, job.arguments, std::move(data));
  const auto log = [&](const LogEntry& entry) {
    if (callbacks.on_log) callbacks.on_log(line_of(entry).c_str(), callbacks.user);
  };
  trainer.on_log(log);
  trainer.on_progress([&](const TrainProgress&) {
    if (callbacks.should_stop && callbacks.should_stop(callbacks.user) != 0) trainer.request_stop();
  });
  const TrainResult result = trainer.train();
  LogEntry last = {{"train_loss", result.training_loss},
                   {"train_runtime", result.seconds},
                   {"global_step", static_cast<double>(result.global_step)}};
  last.insert(last.end(), result.metrics.begin(), result.metrics.end());
  if (!result.interrupted) {
    const LogEntry scores = train::score_test_set(job, trainer);
    last.insert(last.end(), scores.begin(), scores.end());
  }
  log(last);
}

}  // namespace graft
