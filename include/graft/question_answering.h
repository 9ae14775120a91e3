// Answers to questions, as spans of a context.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "graft/export.h"
#include "graft/pipeline.h"

namespace graft {

// A span of a context. Without an answer the text is empty and both places are 0.
struct FoundAnswer {
  std::string answer;
  double score = 0;            // probability among the answers that are kept (n_best_size)
  int64_t start = 0, end = 0;  // in the context, Unicode code points, [start, end)
};

struct QuestionAnswer : FoundAnswer {
  std::vector<FoundAnswer> n_best;  // best first, "no answer" among them where there may be none
  double none_above_best = 0;       // score of "no answer" - score of the best span; infinite without a span
};

// As in run_qa; default: as in training, else the defaults of `graft train`.
struct QuestionOptions {
  std::optional<int> doc_stride{}, n_best_size{}, max_answer_length{};
  std::optional<bool> version_2_with_negative{};
  std::optional<double> null_score_diff_threshold{};
};

// Extractive question answering: long contexts are read in windows. Thread-safe like Pipeline.
class GRAFT_API QuestionAnswerer {
 public:
  // Loads a folder that `graft train` or Python wrote. PipelineOptions::max_seq_length is that of a window.
  explicit QuestionAnswerer(const std::filesystem::path& folder, const PipelineOptions& options = {},
                            const QuestionOptions& question_options = {});
  ~QuestionAnswerer();
  QuestionAnswerer(QuestionAnswerer&&) noexcept;

  // One context for each question. Throws Error for an empty question or context, and for a question that
  // leaves no room for the context in a window.
  std::vector<QuestionAnswer> answer(const std::vector<std::string>& questions,
                                     const std::vector<std::string>& contexts) const;
  const Model& model() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace graft
