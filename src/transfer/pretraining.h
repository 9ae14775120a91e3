// Continued pretraining as a cached stage: a model folder and a prepared corpus to a model folder, with a
// measure on held-out text before and after.
#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graft/trainer.h"
#include "models/family.h"
#include "transfer/mixture.h"
#include "transfer/stage.h"

namespace graft::transfer {

// What the model learns from text.
struct Objective {
  const models::HeadKind* head = nullptr;
  bool span_corruption = false;
  bool contrastive = false;      // two dropout passes over a text are alike, other texts of the batch are not
  bool replaced_tokens = false;  // a discriminator finds the tokens that a generator replaced

  // What is measured on held-out text: of a contrastive objective how well the first half of a text finds its
  // second half, of a discriminator how well it finds replaced tokens.
  const char* measure() const { return contrastive ? "mrr@10" : replaced_tokens ? "f1" : "perplexity"; }
};

// By the name of an option: a task of text, "span-corruption", "rtd" or "simcse"; "" = that of the head in
// the config, else the family's own. Throws UsageError with the objectives that the family has.
Objective choose_objective(const std::string& asked, const models::ModelConfig& config);
std::string in_words(const Objective& objective);

// What the command line does with a Trainer: progress, signals.
struct Hooks {
  // Trainer::train with this state.
  std::function<TrainResult(Trainer&, train::TrainState&)> train;
  std::function<void(const Model& model, const std::string& name)> loaded{};
};

struct CorpusOfLanguage {
  std::string language;          // "" where the corpus is the only one
  std::filesystem::path folder;  // that prepare_corpus filled
};

// The text of a stage.
struct PretrainingText {
  std::vector<CorpusOfLanguage> corpora;  // one, or one of each language
  // Languages: the tokens to the power of 1 / temperature are the shares in an epoch.
  double sampling_temperature = 1;
  // Pairs of sentences for translation language modelling, beside the text: prepared lines SOURCE TAB TARGET.
  std::optional<std::filesystem::path> parallel{};
  std::optional<double> tlm_share{};  // of their tokens in an epoch; without one each pair once
};

// Measured with all-MiniLM-L6-v2 on 1.4 MB of biomedical abstracts, 1,024 tokens a step: 100 steps of the
// head and 210 of all weights take as long as 250 of all at once, and end at a perplexity of 251 in place of
// 292.
inline constexpr int64_t kHeadSteps = 100;
inline constexpr double kHeadLearningRate = 1e-3;

struct PretrainingSettings {
  Objective objective;
  TrainingArguments arguments;      // output_dir and resume_from_checkpoint are the stage's
  int64_t head_steps = kHeadSteps;  // a new head alone; 0 = with the body at once
  double head_learning_rate = 0;
  std::filesystem::path generator{};  // of replaced tokens: the folder that its training starts from
  std::vector<std::pair<std::string, double>> dropout{};
};

// The measure of the objective on held-out text; none where there is no such text.
struct HeldOutScores {
  std::optional<double> domain, general, tlm;  // domain: of several languages the geometric mean
  std::vector<std::pair<std::string, double>> languages{};
};

struct PretrainingResult {
  std::filesystem::path folder;
  HeldOutScores before, after;
  double seconds = 0, head_seconds = 0;  // of its training
  int64_t steps = 0;
  bool cached = false, interrupted = false, new_head = false;
  std::vector<MixtureRow> mixture{};  // empty where one corpus is all data
};

// A checkpoint without the objective's head gets one, which is
// trained alone first as a stage of its own; "before" is then the measure with that head on the unchanged
// body. Tensors and modules of `from` that the pretrained class lacks (a pooler, sentence-transformers'
// modules) are carried over to the result.
PretrainingResult pretrain(const std::string& name, const std::filesystem::path& from,
                           const PretrainingText& text, const PretrainingSettings& settings,
                           const std::filesystem::path& root, const Hooks& hooks);

// The arguments that decide the result of a training, for the key of a stage.
Json deciding_arguments(const TrainingArguments& arguments);

}  // namespace graft::transfer
