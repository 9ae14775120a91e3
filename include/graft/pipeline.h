// Prediction with a fine-tuned model: texts to labels and scores.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "graft/export.h"

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
  int max_seq_length = 0;      // 0 = the length of training, else the model's limit
  int num_threads = 0;         // per call; 0 = all cores
  std::optional<bool> bf16{};  // matrix products in bf16; default: as the model was trained, else fp32
  std::optional<std::string>
      source_prefix{};  // of an encoder-decoder: before each source; default: as in training
  std::filesystem::path load_lang_adapter{};  // as in ModelOptions
};

// A folder of adapters (peft's or AdapterHub's, `graft train --peft_type`) and the name that it gets.
struct NamedAdapter {
  std::string name;
  std::filesystem::path folder;
};

// Sequence classification. Thread-safe: many threads may call one pipeline, and results do not depend on it.
// It holds the weights and no training memory.
class GRAFT_API Pipeline {
 public:
  // Loads a folder that `graft train` or Python wrote. Throws Error as Model and Tokenizer do.
  explicit Pipeline(const std::filesystem::path& folder, const PipelineOptions& options = {});
  // A base model, which may lack a head, and adapters of it. The first of them is active, as in peft.
  Pipeline(const std::filesystem::path& base, const std::vector<NamedAdapter>& adapters,
           const PipelineOptions& options = {});
  ~Pipeline();
  Pipeline(Pipeline&&) noexcept;

  Prediction operator()(const std::string& text) const;
  // Many texts. `pairs` is empty, or holds the second text of each. `adapter`: the name of a loaded one, for
  // this call; "" = the active one.
  std::vector<Prediction> predict(const std::vector<std::string>& texts,
                                  const std::vector<std::string>& pairs = {},
                                  const std::string& adapter = {}) const;

  // Adapters over this model, under peft's names. An adapter has the head, the labels, the length and the
  // precision of its own folder, and the same results as a pipeline of that folder, to the bit; the weights
  // of the base are in memory once. No other call may run at the same time as these three.
  // Throws Error for a name that is taken, a folder without adapters, and adapters of another base.
  void load_adapter(const std::filesystem::path& folder, const std::string& name);
  // What predict, labels and model mean from here on. Throws Error for a name that is not loaded.
  void set_adapter(const std::string& name);
  // The base with its own head. Throws Error if it has none.
  void disable_adapters();

  const std::vector<std::string>& labels() const;
  const Model& model() const;
  // Number of texts truncated at max_seq_length since construction.
  int64_t num_truncated() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// A token for a mask, with the fields of the reference's fill-mask.
struct MaskFill {
  double score = 0;  // probability over the whole vocabulary
  int32_t token = 0;
  std::string token_str, sequence;  // the token, and the text with it, decoded
};

// Masked language models: tokens for each [MASK] (BERT) or <mask> (RoBERTa) of a text. Thread-safe like
// Pipeline.
class GRAFT_API FillMaskPipeline {
 public:
  explicit FillMaskPipeline(const std::filesystem::path& folder, const PipelineOptions& options = {});
  ~FillMaskPipeline();
  FillMaskPipeline(FillMaskPipeline&&) noexcept;

  // The `top_k` most probable tokens, best first, for each text and each of its masks in order. With one mask
  // `sequence` omits special tokens; with more it keeps them and the other masks. Throws Error for a text
  // without a mask.
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
