#include "transfer/finetuning.h"

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "train/parts.h"
#include "train/train_state.h"
#include "transfer/line_file.h"

namespace graft::transfer {
namespace fs = std::filesystem;

namespace {

std::vector<fs::path> paths_of(const std::vector<std::string>& files) { return {files.begin(), files.end()}; }

double score_of(const LogEntry& metrics, const std::string& name) {
  for (const auto& [key, value] : metrics)
    if (key == name) return value;
  fail("the evaluation gave no {}", name);
}

void keep_score_alone(const fs::path& folder) {
  for (const fs::path& path : list_folder(folder))
    if (const std::string name = path.filename().string(); name != "stage.json" && name != "key.json")
      remove_tree(path);
}

}  // namespace

Json training_key(const fs::path& from, const train::TrainJob& job) {
  const DatasetOptions& c = job.columns;
  Json dropout = Json::object();
  for (const auto& [name, p] : job.dropout) dropout[name] = p;
  return {{"task", job.task->head->task},
          {"model", is_folder(from) ? model_fingerprint(from) : files_fingerprint({from})},
          {"train_file", files_fingerprint(paths_of(job.train_file))},
          {"validation_file", files_fingerprint(paths_of(job.validation_file))},
          {"columns", Json::array({c.text_column, c.text_pair_column, c.label_column, c.target_column,
                                   c.source_lang, c.target_lang, c.tag_scheme, c.repair_tags})},
          {"samples", Json::array({job.max_train_samples, job.max_eval_samples, job.max_predict_samples})},
          {"dropout", dropout},
          {"arguments", deciding_arguments(job.arguments)}};
}

bool train_stage(Stage& stage, train::TrainJob job, const fs::path& from, TaskData data, const Hooks& hooks,
                 const Finish& finish, std::optional<Model> loaded) {
  job.arguments.output_dir = stage.folder.string();
  job.arguments.resume_from_checkpoint = resumption_of(stage);
  const Model model = loaded ? *loaded : train::load_model(job, from, data);
  loaded.reset();
  if (hooks.loaded)
    hooks.loaded(model,
                 fmt::format("{}, stage {} with seed {}", from.string(), stage.name, job.arguments.seed));
  Trainer trainer(model, job.arguments, std::move(data));
  trainer.parts().job_options = {{"task", job.task->head->task}, {"model", job.model}};
  train::TrainState state;
  const TrainResult result = hooks.train(trainer, state);
  if (result.interrupted) return false;
  write_json(stage.folder / "stage.json", finish(trainer, state, result));
  complete_stage(stage);
  return true;
}

std::string score_name(const train::TrainJob& job, const Trainer& trainer) {
  auto& parts = const_cast<Trainer&>(trainer).parts();
  return (job.test_file.empty() ? "eval_" : "test_") +
         std::string(parts.features.task->primary_metric().name);
}

FinetuningResult finetune(const std::string& name, const fs::path& from, const train::TrainJob& task_job,
                          uint64_t seed, bool keeps_model, const fs::path& root, const Hooks& hooks) {
  train::TrainJob job = task_job;
  job.model = from.string();
  job.arguments.seed = seed;
  job.arguments.output_dir = "stage";  // until the stage is known
  train::check_job(job);
  Json key = training_key(from, job);
  key["test_file"] = files_fingerprint(paths_of(job.test_file));
  key["keeps_model"] = keeps_model;
  Stage stage = open_stage(root, name, key);
  FinetuningResult out;
  out.folder = stage.folder;
  if (stage.complete) {
    const Json results = read_json(stage.folder / "stage.json");
    out.score = results.at("score").get<double>();
    out.seconds = results.at("seconds").get<double>();
    out.cached = true;
    log_info("{}, seed {}: taken from the cache {}", name, seed, stage.folder.string());
    return out;
  }
  const auto finish = [&](Trainer& trainer, train::TrainState&, const TrainResult& result) -> Json {
    const std::string metric = score_name(job, trainer);
    train::TrainJob of_folder = job;
    of_folder.arguments.output_dir = stage.folder.string();
    const LogEntry table = train::summarize(of_folder, trainer, result);
    out.score = score_of(table, metric);
    out.seconds = result.seconds;
    Json metrics = Json::object();
    for (const auto& [key, value] : table) metrics[key] = value;
    if (!keeps_model) keep_score_alone(stage.folder);
    return {{"metric", metric}, {"score", out.score}, {"seconds", out.seconds}, {"metrics", metrics}};
  };
  out.interrupted = !train_stage(stage, job, from, train::load_data(job, from), hooks, finish);
  return out;
}

void write_task_texts(const train::TrainJob& job, const fs::path& to) {
  train::TrainJob all = job;
  all.max_train_samples = -1;  // texts need no label: those of the whole file
  all.validation_file.clear();
  all.test_file.clear();
  const TaskData data = train::load_data(all, fs::path(job.model));
  LineFile out(to);
  const auto add = [&](std::string text) {
    for (char& c : text)
      if (c == '\n' || c == '\r') c = ' ';
    if (!text.empty()) out.append(text);
  };
  for (const Example& e : data.train.examples()) {
    std::string text = e.text;
    for (const TaggedWord& word : e.words) text += (text.empty() ? "" : " ") + word.text;
    add(text);
    if (e.has_pair) add(e.text_pair);
    for (const std::string& choice : e.choices) add(choice);
    if (e.has_target) add(e.target);
  }
  out.finish();
}

}  // namespace graft::transfer
