// `graft adapt`: domain text (DAPT), task text (TAPT), task, and the table that shows whether it helped
// (Gururangan et al. 2020, "Don't Stop Pretraining").
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "train/job.h"
#include "transfer/corpus.h"
#include "transfer/plan.h"
#include "transfer/pretraining.h"
#include "transfer/statistics.h"
#include "transfer/vocabulary.h"

namespace graft::transfer {

struct AdaptJob {
  train::TrainJob job;  // the model, the task's files, and the arguments of continued pretraining
  // corpus and held_out_file: files, or de=FILE,fr=FILE. parallel: as read_parallel takes it.
  std::vector<std::string> corpus, held_out_file, exclude_file, replay, control, general, parallel;
  std::string objective, generator, stages = "dapt", task_arguments, tapt_arguments;
  std::vector<uint64_t> seeds = {1, 2, 3};
  int64_t head_steps = kHeadSteps;
  double head_learning_rate = kHeadLearningRate;
  double held_out_percentage = 5, near_duplicates = 0.8, replay_ratio = 0.1;
  double sampling_temperature = 1;    // of the languages of the corpus
  std::optional<double> tlm_share{};  // of --parallel in the tokens of an epoch; without one each pair once
  int64_t max_corpus_bytes = 0;       // of the domain text that is trained on; 0 = all
  int64_t extend_vocabulary = 0, pilot_steps = 50;
  bool plan = false;  // measures and recommends, and trains a pilot alone
  bool remove_duplicates = true, remove_overlap = false, ablation = true;
};

// The defaults of continued pretraining, where they are not those of `graft train`.
TrainingArguments adaptation_arguments();

struct StageRow {
  std::string name;
  PretrainingResult result;
};

// One way to the fine-tuned task.
struct Arm {
  std::string name;
  std::filesystem::path model;   // what is fine-tuned
  std::vector<double> scores{};  // one a seed
  std::optional<PairedTest> against_base{};
};

struct AdaptResult {
  std::vector<std::pair<std::string, CorpusReport>> corpora;  // by stage
  std::optional<Plan> plan;
  std::optional<ExtendedVocabulary> vocabulary;
  std::vector<StageRow> stages;
  std::vector<Arm> arms;
  std::string measure;  // of the stages, on held-out text: perplexity, or mrr@10
  std::string metric;   // of the arms
  std::filesystem::path model;
  bool interrupted = false;
};

// Checks options, throws UsageError. `checkpoint`: the folder of job.model.
AdaptResult adapt(AdaptJob job, const std::filesystem::path& checkpoint, const Hooks& hooks);

// The tables in text, and the same as json (OUTPUT/adapt_results.json).
std::string table_of(const AdaptResult& result, const AdaptJob& job);
Json to_json(const AdaptResult& result, const AdaptJob& job);

}  // namespace graft::transfer
