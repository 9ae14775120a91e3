#include "transfer/xling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/stopwatch.h"
#include "models/adapter_folder.h"
#include "train/arguments.h"
#include "train/output_lock.h"
#include "train/parts.h"
#include "train/sequence_length.h"
#include "train/train_state.h"
#include "train/trained_model.h"
#include "train/weight_average.h"
#include "transfer/adapt_options.h"
#include "transfer/finetuning.h"
#include "transfer/folders.h"
#include "transfer/languages.h"
#include "transfer/quiet_log.h"
#include "transfer/row_choice.h"
#include "transfer/scoring.h"
#include "transfer/xling_data.h"
#include "transfer/xling_few_shot.h"

namespace graft::transfer {
namespace fs = std::filesystem;

namespace {

constexpr const char *kLast = "last", *kRun = "run";  // subfolders of stages

Json json_of(const LogEntry& entry) {
  Json json = Json::object();
  for (const auto& [name, value] : entry) json[name] = std::isfinite(value) ? Json(value) : Json(nullptr);
  return json;
}

double number(const Json& json, const std::string& name) {
  const Json& value = json.contains(name) ? json.at(name) : Json();
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

// Of a run that has ended; null where none was asked for.
train::WeightAverage* average_of(const train::TrainState& state) {
  for (const auto& one : state.stateful)
    if (one->key() == train::WeightAverage::kKey) {
      auto& average = static_cast<train::WeightAverage&>(*one);
      return average.num_added() > 0 && average.swapped() ? &average : nullptr;
    }
  return nullptr;
}

class Matrix {
 public:
  Matrix(XlingJob& job, fs::path checkpoint, const fs::path& tokenizer, const Hooks& hooks)
      : job_(job),
        checkpoint_(std::move(checkpoint)),
        tokenizer_folder_(models::tokenizer_folder(tokenizer)),
        tokenizer_(Tokenizer::from_pretrained(tokenizer_folder_)),
        hooks_(hooks),
        output_(job.job.arguments.output_dir),
        root_(output_ / "stages"),
        data_(read_files(job)) {
    result_.task = job.job.task->head->task;
    columns_ = job.job.columns;
    columns_.max_samples = job.job.max_predict_samples;
    settle_arguments();
    describe();
  }

  XlingResult run() {
    for (const uint64_t seed : job_.seeds)
      if (!run_seed(seed)) {
        result_.interrupted = true;
        return std::move(result_);
      }
    publish_model(first_, output_,
                  {{"xling_results.json", to_json(result_, job_).dump(2) + "\n"},
                   {"xling_results.md", table_of(result_, job_)}});
    result_.model = output_;
    return std::move(result_);
  }

 private:
  bool has_rules() const { return job_.job.task->input == tasks::Input::questions; }
  std::string rules_of(const std::string& language) const {
    return has_rules() ? answer_rules(language) : "";
  }

  void settle_arguments() {
    if (has_rules()) job_.job.arguments.language = answer_rules(job_.source_language);
    few_shot_arguments(job_);  // throws before the training
  }

  // The model that the first seed trains.
  Model load_first() const {
    TaskData data;
    data.train = rows_of_run(data_, job_, job_.seeds.front());
    data.tokenizer = tokenizer_;
    return train::load_model(job_of(job_.seeds.front()), checkpoint_, data);
  }

  // Everything about the files that can be said before training.
  void describe() {
    const Model model = load_first();
    untrained_ = model;
    const auto missing = check_labels(data_, job_, model.labels());
    const int64_t length = train::training_length(job_.job.arguments.max_seq_length, model, *tokenizer_);
    const tasks::Input input = job_.job.task->input;
    const auto text = [&](const Dataset& rows) { return text_of(rows, *tokenizer_, input, length); };
    result_.source_text = text(data_.source(job_.source_language).rows);
    result_.held_out = data_.held_out;
    result_.dev_overlaps = data_.dev_overlaps;
    warn_of_script({job_.source_language, data_.dev.origin()}, text(data_.dev));
    std::vector<int64_t> mixed;
    rows_of_run(data_, job_, job_.seeds.front(), &mixed);
    std::unordered_set<uint64_t> trained;
    for (size_t i = 0; i < data_.training.size(); ++i) {
      const auto& [file, rows] = data_.training[i];
      result_.training.push_back(
          {file.language, file.file.string(), static_cast<int64_t>(rows.size()), mixed[i]});
      for (const uint64_t key : keys_of_rows(rows)) trained.insert(key);
      warn_of_script(file, text(rows));
    }
    std::vector<std::string> known_labels;
    for (const LabelCount& label : data_.training.front().rows.label_counts())
      known_labels.push_back(label.label);
    for (size_t i = 0; i < data_.tests.size(); ++i) {
      const auto& [file, rows] = data_.tests[i];
      LanguageScores one;
      one.file = file;
      const std::vector<std::string> trained_on = languages(data_.training);
      one.trained_on = std::find(trained_on.begin(), trained_on.end(), file.language) != trained_on.end();
      one.text = text(rows);
      one.missing_labels = missing[i];
      for (const Example& e : rows.examples()) one.rows_in_training += trained.count(key_of_row(e)) ? 1 : 0;
      warn_of(one);
      if (file.language == job_.source_language)
        result_.source = std::move(one);
      else
        result_.targets.push_back(std::move(one));
    }
    result_.shots_of_labels = job_.job.task->input == tasks::Input::labelled_rows;
    for (const LanguageRows& one : data_.few_shot) {
      const Dataset& tested = data_.test_of(one.file.language)->rows;
      candidates_.push_back(shot_candidates(job_, one, tested, result_.shots_of_labels, known_labels,
                                            result_.shots.emplace_back()));
      warn_of_script(one.file, text(one.rows));
    }
    log_info("{}: {} -> {}; {} rows in each epoch, {} rows of {} for development{}; {} seed{}",
             job_.job.task->head->task, enumeration(languages(data_.training)), enumeration(target_names()),
             std::accumulate(mixed.begin(), mixed.end(), int64_t{0}), data_.dev.size(), job_.source_language,
             data_.held_out > 0 ? " (held out of the training file)" : "", job_.seeds.size(),
             job_.seeds.size() > 1 ? "s" : "");
  }

  static void warn_of_script(const LanguageFile& file, const LanguageText& text) {
    for (const std::string& why : script_complaints(text, file.language))
      log_warning("{}={}: {}", file.language, file.file.string(), why);
  }

  void warn_of(const LanguageScores& one) const {
    const std::string place = fmt::format("{}={}", one.file.language, one.file.file.string());
    warn_of_script(one.file, one.text);
    if (const std::string why = tokenizer_complaint(one.text, result_.source_text); !why.empty())
      log_warning(
          "{}: {}: the model does not read {} as it reads its source; expect little, and look for a "
          "multilingual checkpoint",
          place, why, language_name(one.file.language));
    if (one.rows_in_training > 0)
      log_warning(
          "{}: {} of {} rows also occur in the training data: their scores say little about other texts",
          place, one.rows_in_training, one.text.rows);
  }

  static std::vector<std::string> languages(const std::vector<LanguageRows>& rows) {
    std::vector<std::string> out;
    out.reserve(rows.size());
    for (const LanguageRows& one : rows) out.push_back(one.file.language);
    return out;
  }

  std::vector<std::string> target_names() const {
    std::vector<std::string> out;
    out.reserve(result_.targets.size());
    for (const LanguageScores& one : result_.targets) out.push_back(one.file.language);
    return out;
  }

  bool run_seed(uint64_t seed) {
    fs::path folder;
    if (!train_source(seed, folder)) return false;
    if (first_.empty()) first_ = folder;
    models_ = {};
    if (result_.source) score(seed, folder, *result_.source);
    for (LanguageScores& target : result_.targets) score(seed, folder, target);
    for (size_t i = 0; i < data_.few_shot.size(); ++i)
      if (!few_shot(seed, folder, data_.few_shot[i], candidates_[i], result_.shots[i])) return false;
    return true;
  }

  train::TrainJob job_of(uint64_t seed) const {
    train::TrainJob job = job_.job;
    job.arguments.seed = seed;
    job.max_predict_samples = -1;  // of the test files, which it does not read
    job.train_file.clear();
    for (const LanguageRows& one : data_.training) job.train_file.push_back(one.file.file.string());
    return job;
  }

  Json key_of_source(const train::TrainJob& job) const {
    Json key = training_key(checkpoint_, job);
    key["tokenizer"] = model_fingerprint(tokenizer_folder_);
    key["random_weights"] = job.model.empty();
    key["languages"] = languages(data_.training);
    key["source_language"] = job_.source_language;
    key["max_rows_per_language"] = job_.max_rows_per_language;
    key["sampling_temperature"] = job_.sampling_temperature;
    key["validation_split_percentage"] = data_.held_out > 0 ? job_.validation_split_percentage : 0.0;
    return key;
  }

  // Trains the source; its stage has the model, and in last/ the weights that are not averaged.
  bool train_source(uint64_t seed, fs::path& folder) {
    const train::TrainJob job = job_of(seed);
    Stage stage = open_stage(root_, "train", key_of_source(job));
    folder = stage.folder;
    if (stage.complete) {
      log_info("seed {}: the trained model is taken from the cache {}", seed, stage.folder.string());
      ++result_.cached_seeds;
    } else {
      log_info("seed {}: training on {}", seed, enumeration(languages(data_.training)));
      TaskData data;
      data.train = rows_of_run(data_, job_, seed);
      data.eval = data_.dev;
      data.tokenizer = tokenizer_;
      const auto finish = [&](Trainer& trainer, train::TrainState& state, const TrainResult& result) -> Json {
        result_.train_seconds += result.seconds;
        const tasks::PrimaryMetric metric = trainer.parts().features.task->primary_metric();
        Json out = {{"metric", metric.name},
                    {"larger_is_better", metric.larger_is_better},
                    {"dev", json_of(result.metrics)},
                    {"seconds", result.seconds},
                    {"averaged", 0}};
        if (train::WeightAverage* average = average_of(state)) {
          out["averaged"] = average->num_added();
          average->swap();
          trainer.save_model(stage.folder / kLast);
          out["dev_last"] = json_of(trainer.evaluate());
          average->swap();
        }
        return out;
      };
      if (!train_stage(stage, job, checkpoint_, std::move(data), hooks_, finish,
                       std::exchange(untrained_, std::nullopt)))
        return false;
    }
    untrained_.reset();
    const Json json = read_json(stage.folder / "stage.json");
    result_.metric = json.at("metric").get<std::string>();
    result_.larger_is_better = json.at("larger_is_better").get<bool>();
    result_.averaged = json.at("averaged").get<int64_t>();
    result_.dev.push_back(number(json.at("dev"), "eval_" + result_.metric));
    if (json.contains("dev_last"))
      result_.dev_last.push_back(number(json.at("dev_last"), "eval_" + result_.metric));
    return true;
  }

  LogEntry scores_of(std::optional<Model>& model, const fs::path& folder, const LanguageFile& file) {
    QuietLog quiet;
    if (!model) model = train::load_trained(folder, job_.job.task->head->task);
    return Scorer(*model, folder, file.file, columns_, rules_of(file.language)).evaluate();
  }

  Json key_of_score(const fs::path& folder, const LanguageFile& test) const {
    const DatasetOptions& c = columns_;
    return {{"trained", folder.filename().string()},
            {"test_file", files_fingerprint({test.file})},
            {"columns", Json::array({c.text_column, c.text_pair_column, c.label_column, c.target_column,
                                     c.source_lang, c.target_lang, c.tag_scheme, c.repair_tags})},
            {"max_samples", c.max_samples},
            {"answer_rules", rules_of(test.language)}};
  }

  void score(uint64_t seed, const fs::path& folder, LanguageScores& to) {
    Stage stage = open_stage(root_, "score-" + to.file.language, key_of_score(folder, to.file));
    const fs::path report = stage.folder / "stage.json";
    if (!stage.complete) {
      const Stopwatch stopwatch;
      Json json = {{"scores", json_of(scores_of(models_.average, folder, to.file))}};
      if (path_exists(folder / kLast))
        json["last"] = json_of(scores_of(models_.last, folder / kLast, to.file));
      write_json(report, json);
      complete_stage(stage);
      result_.evaluation_seconds += stopwatch.seconds();
    }
    const Json json = read_json(report);
    to.metrics.push_back(json.at("scores"));
    to.scores.push_back(number(json.at("scores"), result_.metric));
    std::string last;
    if (json.contains("last")) {
      to.last.push_back(number(json.at("last"), result_.metric));
      last = fmt::format(" ({:.4f} without averaging)", to.last.back());
    }
    log_info("seed {}: {}: {} {:.4f}{}", seed, to.file.language, result_.metric, to.scores.back(), last);
  }

  bool few_shot(uint64_t seed, const fs::path& folder, const LanguageRows& from,
                const std::vector<size_t>& candidates, Shots& to) {
    const LanguageFile& test = data_.test_of(to.language)->file;
    train::TrainJob job = job_.job;
    job.arguments = few_shot_arguments(job_);
    job.arguments.seed = seed;
    Json key = key_of_score(folder, test);
    key["few_shot_file"] = files_fingerprint({from.file.file});
    key["few_shot"] = job_.few_shot;
    key["sets"] = job_.few_shot_sets;
    key["arguments"] = deciding_arguments(job.arguments);
    Stage stage = open_stage(root_, "few-shot-" + to.language, key);
    const fs::path report = stage.folder / "stage.json";
    if (!stage.complete) {
      const Stopwatch stopwatch;
      job.arguments.output_dir = (stage.folder / kRun).string();
      const auto score_on_test = [&](const Model& model) {
        Scorer scorer(model, job.arguments.output_dir, test.file, columns_, rules_of(test.language));
        return value_of(scorer.evaluate(), result_.metric);
      };
      Json json = Json::object();
      for (const int64_t k : job_.few_shot) {
        Json scores = Json::array();
        for (int64_t set = 0; set < job_.few_shot_sets; ++set) {
          const std::vector<size_t> rows =
              draw_shots(from.rows, candidates, k, result_.shots_of_labels, static_cast<uint64_t>(set));
          const std::optional<double> value =
              train_shots(job, folder, rows_at(from.rows, rows), hooks_, score_on_test);
          if (!value) return false;
          scores.push_back(std::isfinite(*value) ? Json(*value) : Json(nullptr));
          log_info("seed {}: {}: {} row{}{}, set {} of {}: {} {:.4f}", seed, to.language, k, k > 1 ? "s" : "",
                   result_.shots_of_labels ? " of each label" : "", set + 1, job_.few_shot_sets,
                   result_.metric, *value);
        }
        json[std::to_string(k)] = scores;
      }
      write_json(report, json);
      complete_stage(stage);
      result_.few_shot_seconds += stopwatch.seconds();
    }
    const Json json = read_json(report);
    for (const int64_t k : job_.few_shot) {
      const Json& scores = json.at(std::to_string(k));
      for (const Json& one : scores)
        to.scores[k].push_back(one.is_null() ? std::numeric_limits<double>::quiet_NaN() : one.get<double>());
    }
    return true;
  }

  XlingJob& job_;
  fs::path checkpoint_, tokenizer_folder_;
  std::shared_ptr<Tokenizer> tokenizer_;
  const Hooks& hooks_;
  fs::path output_, root_, first_;  // first_: the model of the first seed
  XlingData data_;
  std::vector<std::vector<size_t>> candidates_;  // of each few-shot file
  std::optional<Model> untrained_;               // of the first seed, until it trains
  DatasetOptions columns_;
  struct {
    std::optional<Model> average, last;
  } models_;  // of a seed
  XlingResult result_;
};

// The average is of the weights at evaluations, which are spread over the run.
void spread_evaluations(TrainingArguments& a) {
  if (a.average_checkpoints == 0 || a.eval_strategy != "no") return;
  a.eval_strategy = "steps";
  a.eval_steps = 1.0 / static_cast<double>(a.average_checkpoints);
}

// check_job without its need of a --validation_file: development rows may be held out.
void check_task(XlingJob& job) {
  train::TrainJob& task = job.job;
  const bool from_file = !task.validation_file.empty();
  std::vector<std::string> train = task.train_file;
  if (train.empty()) task.train_file = job.train_files;
  if (!from_file) task.validation_file = {"held out"};
  train::check_job(task);
  if (!from_file) task.validation_file.clear();
  task.train_file = std::move(train);
  if (input_of(*task.task, task.arguments.span_corruption) == tasks::Input::text)
    throw UsageError(
        fmt::format("--task {} is refused: xling scores tasks with labels", task.task->head->task),
        "`graft adapt` trains on text and measures perplexity");
}

}  // namespace

XlingResult xling(XlingJob job, const fs::path& checkpoint, const fs::path& tokenizer, const Hooks& hooks) {
  check_xling(job);
  spread_evaluations(job.job.arguments);
  if (!job.job.model.empty()) check_whole_model(checkpoint);
  check_task(job);
  check_output(job.job.arguments.output_dir, job.job.overwrite_output_dir);
  const train::OutputLock lock(job.job.arguments.output_dir);
  Matrix matrix(job, checkpoint, tokenizer, hooks);
  return matrix.run();
}

}  // namespace graft::transfer
