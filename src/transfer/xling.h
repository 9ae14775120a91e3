// `graft xling`: trains on one language or several, and scores every language that has a test file: the
// matrix of cross-lingual transfer. No decision reads a label of a target language: training sees the files
// of its own languages, selection the source's, and a test file is opened for its score alone.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "train/job.h"
#include "transfer/language_files.h"
#include "transfer/language_text.h"
#include "transfer/pretraining.h"

namespace graft::transfer {

struct XlingJob {
  train::TrainJob job;  // train_file: of the source language; validation_file: of the source language
  std::vector<std::string> train_files, test_files, few_shot_files;  // de=FILE,fr=FILE
  std::string source_language = "en";
  std::vector<uint64_t> seeds = {1, 2, 3};
  bool validation_file_is_named = false;    // en=FILE; set by check_xling
  double validation_split_percentage = 10;  // of the source's training rows, without a validation_file
  double sampling_temperature = 1;
  int64_t max_rows_per_language = 0;  // 0 = all
  std::vector<int64_t> few_shot;      // rows of each label
  int64_t few_shot_sets = 5;
  std::string few_shot_arguments;
};

// The defaults of training, where they are not those of `graft train`: the weights are averaged at ten evenly
// spaced places of the run (Schmidt et al. 2023, "Free Lunch: Robust Cross-Lingual Transfer via Model
// Checkpoint Averaging").
inline constexpr int64_t kAveragedCheckpoints = 10;
TrainingArguments xling_arguments();

// Scores of a language, one a seed.
struct LanguageScores {
  LanguageFile file;
  bool trained_on = false;  // training read rows of this language
  LanguageText text;
  int64_t rows_in_training = 0;  // of the test file, by what they say
  std::vector<std::string> missing_labels;
  std::vector<double> scores, last;  // last: of the weights that the run ended with; empty without an average
  std::vector<Json> metrics;         // all of them, a seed each
};

// The scores of k rows of each label: [seeds * sets].
struct Shots {
  std::string language;
  int64_t left_out = 0;      // rows that are in the test file too
  std::string short_labels;  // labels with fewer rows than were asked for: "3 of "sports""
  std::map<int64_t, std::vector<double>> scores;
};

struct TrainingRows {
  std::string language, file;
  int64_t rows = 0, in_mixture = 0;  // of the file after the held-out part, and in each epoch
};

struct XlingResult {
  std::string task, metric;
  bool larger_is_better = true;
  std::vector<TrainingRows> training;
  int64_t held_out = 0;                  // rows of the source that were put aside for development; 0 = a file
  std::optional<LanguageScores> source;  // of its test file
  std::vector<std::string> dev_overlaps;  // "18 of its 38 rows are in the test file de=de.csv"
  std::vector<double> dev, dev_last;      // of the source's development rows, one a seed
  LanguageText source_text;               // of its training rows
  std::vector<LanguageScores> targets;
  std::vector<Shots> shots;
  bool shots_of_labels = false;  // k rows of each label; else k rows
  int64_t averaged = 0;          // places of the run
  double train_seconds = 0, evaluation_seconds = 0, few_shot_seconds = 0;  // of what was not in the cache
  int64_t cached_seeds = 0;
  std::filesystem::path model;
  bool interrupted = false;
};

// `checkpoint`: the folder of job.model, or with config_name its config.json; `tokenizer`: the folder of the
// tokenizer. Writes the model of the first seed, xling_results.json and xling_results.md into the output
// folder. Checks options and files before it trains: throws UsageError and Error.
XlingResult xling(XlingJob job, const std::filesystem::path& checkpoint,
                  const std::filesystem::path& tokenizer, const Hooks& hooks);

// What is known before the files are read: options that are missing or contradict each other, and labels of a
// target language where a decision would read them.
void check_xling(XlingJob& job);

// The tables as markdown, with notes, and the same as json.
std::string table_of(const XlingResult& result, const XlingJob& job);
Json to_json(const XlingResult& result, const XlingJob& job);

}  // namespace graft::transfer
