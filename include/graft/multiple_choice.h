// The best of several choices.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "graft/export.h"
#include "graft/pipeline.h"

namespace graft {

// Choices for a context, for a question, or for a question on a context: then `question` stands before each
// choice (also the beginning of a sentence that each choice ends).
struct ChoiceQuestion {
  std::string context, question;  // one of them may be empty
  std::vector<std::string> choices;
};

struct ChosenAnswer {
  int64_t choice = 0;  // index of the best
  std::string text;
  double score = 0;
  std::vector<double> scores;  // probabilities of all choices
};

// Thread-safe like Pipeline.
class GRAFT_API MultipleChoicePipeline {
 public:
  // Loads a folder that `graft train` or Python wrote.
  explicit MultipleChoicePipeline(const std::filesystem::path& folder, const PipelineOptions& options = {});
  ~MultipleChoicePipeline();
  MultipleChoicePipeline(MultipleChoicePipeline&&) noexcept;

  // Throws Error for fewer than two choices.
  std::vector<ChosenAnswer> predict(const std::vector<ChoiceQuestion>& questions) const;
  const Model& model() const;
  int64_t num_truncated() const;  // questions with a choice truncated at max_seq_length, since construction

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace graft
