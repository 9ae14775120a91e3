#include "capi/train.h"

#include <map>
#include <type_traits>
#include <variant>

#include "base/error.h"
#include "base/json.h"
#include "graft/hub.h"
#include "train/arguments.h"
#include "train/job.h"

namespace graft {
namespace {

using train::TrainJob;

using Member = std::variant<std::string TrainJob::*, std::vector<std::string> TrainJob::*, bool TrainJob::*,
                            int64_t TrainJob::*, std::string DatasetOptions::*, bool DatasetOptions::*>;

// Options of a job that are not training arguments.
const std::map<std::string, Member>& job_options() {
  static const std::map<std::string, Member> table = {
      {"model", &TrainJob::model},
      {"task", &TrainJob::task_name},
      {"config_name", &TrainJob::config_name},
      {"load_lang_adapter", &TrainJob::load_lang_adapter},
      {"tokenizer_name", &TrainJob::tokenizer_name},
      {"train_file", &TrainJob::train_file},
      {"validation_file", &TrainJob::validation_file},
      {"test_file", &TrainJob::test_file},
      {"text_column", &DatasetOptions::text_column},
      {"text_pair_column", &DatasetOptions::text_pair_column},
      {"label_column", &DatasetOptions::label_column},
      {"target_column", &DatasetOptions::target_column},
      {"tag_scheme", &DatasetOptions::tag_scheme},
      {"repair_tags", &DatasetOptions::repair_tags},
      {"source_lang", &DatasetOptions::source_lang},
      {"target_lang", &DatasetOptions::target_lang},
      {"max_train_samples", &TrainJob::max_train_samples},
      {"max_eval_samples", &TrainJob::max_eval_samples},
      {"max_predict_samples", &TrainJob::max_predict_samples},
      {"ignore_mismatched_sizes", &TrainJob::ignore_mismatched_sizes},
      {"overwrite_output_dir", &TrainJob::overwrite_output_dir}};
  return table;
}

std::string text_of(const std::string& name, const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number() || value.is_boolean() || (value.is_object() && train::takes_object(name)))
    return value.dump();
  throw UsageError(fmt::format("graft_train: \"{}\" must be a string, a number or true or false, not {}",
                               name, value.dump()));
}

// The values of a list with commas between them, as set_argument takes them.
std::string list_of(const std::string& name, const Json& value) {
  if (!value.is_array() || !train::takes_list(name)) return text_of(name, value);
  std::string list;
  for (const Json& one : value) list += (list.empty() ? "" : ",") + text_of(name, one);
  return list;
}

void assign(std::string& field, const std::string& name, const Json& value) { field = text_of(name, value); }
void assign(bool& field, const std::string& name, const Json& value) {
  field = train::parse_switch(name, text_of(name, value));
}
void assign(int64_t& field, const std::string& name, const Json& value) {
  constexpr train::Range kSamples{1, 1e12};
  field = train::parse_integer(name, text_of(name, value));
  train::check_range(name, static_cast<double>(field), kSamples);
}
void assign(std::vector<std::string>& field, const std::string& name, const Json& value) {
  if (!value.is_array()) return field.push_back(text_of(name, value));
  for (const Json& file : value) field.push_back(text_of(name, file));
}

void set_option(TrainJob& job, const std::string& name, const Json& value) {
  const auto it = job_options().find(name);
  if (it == job_options().end()) {
    const std::string text = list_of(name, value);
    if (train::override_dropout(job, name, text)) return;
    return train::set_argument(job.arguments, name, text);
  }
  std::visit(
      [&](auto member) {
        if constexpr (std::is_same_v<decltype(member), std::string DatasetOptions::*> ||
                      std::is_same_v<decltype(member), bool DatasetOptions::*>)
          assign(job.columns.*member, name, value);
        else
          assign(job.*member, name, value);
      },
      it->second);
}

TrainJob job_of(const std::string& options) {
  const Json json = parse_json(options, "graft_train: options");
  if (!json.is_object()) fail("graft_train: options must be a JSON object");
  TrainJob job;
  for (const auto& [name, value] : json.items())
    if (!value.is_null()) set_option(job, name, value);
  if (job.arguments.do_predict)
    throw UsageError("graft_train: \"do_predict\" is refused: it is for the command line",
                     "predict with graft_load and graft_predict");
  train::check_job(job);
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
  const std::filesystem::path checkpoint = train::find_checkpoint(job, resolve_model);
  TaskData data =
      train::load_data(job, job.tokenizer_name.empty() ? checkpoint : resolve_model(job.tokenizer_name));
  const Model model = train::load_model(job, checkpoint, data);
  Trainer trainer(model, job.arguments, std::move(data));
  const auto log = [&](const LogEntry& entry) {
    if (callbacks.on_log) callbacks.on_log(line_of(entry).c_str(), callbacks.user);
  };
  Observer observer;
  observer.on_log = log;
  observer.should_stop = [&] { return callbacks.should_stop && callbacks.should_stop(callbacks.user) != 0; };
  const TrainResult result = trainer.train(observer);
  log(train::summarize(job, trainer, result));
}

}  // namespace graft
