// What a stage of continued pretraining reads: one prepared corpus or one of each language, and pairs of
// sentences for translation language modelling.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "transfer/mixture.h"
#include "transfer/pretraining.h"

namespace graft {
class Trainer;
struct TaskData;
}  // namespace graft

namespace graft::transfer {

// The evaluation set of held-out pairs, and their name among the parts of a mixture.
inline constexpr const char* kTlm = "tlm";

// The files of a folder that prepare_corpus filled.
struct PreparedFiles {
  explicit PreparedFiles(const std::filesystem::path& folder);
  std::filesystem::path train, held_out;
  std::optional<std::filesystem::path> general;
};

// The part of a stage's key: sha256 of every text, and what mixes them.
Json key_of(const PretrainingText& text);
// All files of training text.
std::vector<std::filesystem::path> training_files(const PretrainingText& text);
// Whether the data are mixed of several sets; else they are those of one corpus.
bool is_mixed(const PretrainingText& text);

// For the Trainer. Of a mixture the evaluation sets of text alone; use_mixture adds the rest.
TaskData data_of(const PretrainingText& text, const Objective& objective,
                 const std::filesystem::path& tokenizer);
std::vector<MixtureRow> use_mixture(Trainer& trainer, const PretrainingText& text);
void log_mixture(const std::vector<MixtureRow>& rows, const PretrainingText& text, const std::string& stage);

// Of an evaluation of these data.
HeldOutScores scores_of(const LogEntry& metrics, const Objective& objective, const PretrainingText& text);

}  // namespace graft::transfer
