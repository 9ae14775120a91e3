// A loaded model that answers: text in, labels and scores out.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace graft {

class Model;

struct LabelScore {
  std::string label;
  double score = 0;  // probability (softmax, or sigmoid for multi-label); the number itself for regression
};

struct Prediction {
  std::string label;  // the best; for multi-label the best even when below 0.5
  double score = 0;
  std::vector<LabelScore> scores;  // all labels in the order of ids
};

struct PipelineOptions {
  int batch_size = 32;         // texts in one pass; results do not depend on it
  int max_seq_length = 0;      // 0 = as the model was trained, else the model's limit
  int num_threads = 0;         // per call; 0 = all cores
  std::optional<bool> bf16{};  // matrix products in bf16; default: as the model was trained, else fp32
};

// Sequence classification. One pipeline serves many threads at once, each with the same bits; it holds the
// weights and no training memory.
class Pipeline {
 public:
  // Loads a folder that `graft train` or Python wrote. Throws Error as Model and Tokenizer do.
  explicit Pipeline(const std::filesystem::path& folder, const PipelineOptions& options = {});
  ~Pipeline();
  Pipeline(Pipeline&&) noexcept;

  Prediction operator()(const std::string& text) const;
  // Many texts, or pairs where `pairs` is not empty (then as many as texts).
  std::vector<Prediction> predict(const std::vector<std::string>& texts,
                                  const std::vector<std::string>& pairs = {}) const;
  const std::vector<std::string>& labels() const;
  const Model& model() const;
  // Texts cut at max_seq_length since construction: truncation is never silent.
  int64_t num_truncated() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// A token for a masked place, with the fields of the reference's fill-mask.
struct MaskFill {
  double score = 0;  // probability over the whole vocabulary
  int32_t token = 0;
  std::string token_str, sequence;  // the token, and the text with it, decoded
};

// Masked language models: which tokens stand where the text says [MASK] (BERT) or <mask> (RoBERTa). As
// Pipeline serves many threads at once.
class FillMaskPipeline {
 public:
  explicit FillMaskPipeline(const std::filesystem::path& folder, const PipelineOptions& options = {});
  ~FillMaskPipeline();
  FillMaskPipeline(FillMaskPipeline&&) noexcept;

  // For each text and each mask in it, in order, the `top_k` likeliest tokens, best first. Where a text has
  // one mask, `sequence` leaves out special tokens; where it has more, they and the other masks are shown.
  // Throws Error for a text without a mask.
  std::vector<std::vector<std::vector<MaskFill>>> predict(const std::vector<std::string>& texts,
                                                          int top_k = 5) const;
  const std::string& mask_token() const;
  const Model& model() const;
  int64_t num_truncated() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace graft
