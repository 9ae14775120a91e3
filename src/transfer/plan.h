// Before spending: how far the domain is from what the model knows, what a short pilot gains, and how long
// the whole run takes.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "graft/dataset.h"
#include "graft/train_tokenizer.h"
#include "transfer/pretraining.h"

namespace graft::transfer {

struct PlanInputs {
  std::filesystem::path model, corpus;                 // `corpus` as prepare_corpus filled it
  std::vector<std::filesystem::path> general_files{};  // text like the model's own; may be empty
  DatasetOptions columns{};                            // of these files
  int64_t pilot_steps = 50;
};

struct Plan {
  TokenizerStats domain;
  std::optional<TokenizerStats> general;
  // Of the domain's most frequent kTopWords words: the share that is among those of the general text (as
  // Gururangan et al. 2020, figure 2), and the share that the vocabulary has as one token.
  std::optional<double> overlap;
  double whole_words = 0;
  int64_t corpus_tokens = 0, steps = 0;  // of the run, estimated
  int64_t pilot_steps = 0;
  double step_seconds = 0, run_seconds = 0;
  std::optional<double> perplexity_before, perplexity_after;  // of the pilot
  bool interrupted = false;
  std::string recommendation;  // with its reasons
};

inline constexpr size_t kTopWords = 10000;

// The pilot trains on a sample of the corpus, as a stage of its own.
Plan make_plan(const PlanInputs& inputs, const PretrainingSettings& settings,
               const std::filesystem::path& root, const Hooks& hooks);
std::string recommendation_of(const Plan& plan);

std::string table_of(const Plan& plan);
Json to_json(const Plan& plan);

}  // namespace graft::transfer
