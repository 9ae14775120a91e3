// Models that generate: continuations of texts and answers to them, and how well a model predicts a text.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "graft/export.h"
#include "graft/generation_options.h"
#include "graft/pipeline.h"

namespace graft {

// A continuation of a prompt, or what an encoder-decoder writes for it.
struct GeneratedText {
  std::string text;             // prompt and continuation, without special tokens; of an encoder-decoder what
                                // it wrote
  std::string continuation;     // what was added
  std::vector<int32_t> tokens;  // of the continuation, with the token that ends it
  double score = 0;             // of a beam; 0 without beam search
};

// How well a causal language model predicts a text.
struct TextLoss {
  double loss = 0;        // mean over predicted tokens; NaN for a text of one token
  double perplexity = 0;  // exp(loss)
  int64_t tokens = 0;     // of the text
};

// Continues texts with a causal language model and scores them, or generates the target of a source with an
// encoder-decoder. Thread-safe like Pipeline.
class GRAFT_API TextGenerationPipeline {
 public:
  // Loads a folder that `graft train` or Python wrote, with its generation_config.json.
  explicit TextGenerationPipeline(const std::filesystem::path& folder, const PipelineOptions& options = {});
  ~TextGenerationPipeline();
  TextGenerationPipeline(TextGenerationPipeline&&) noexcept;

  // num_return_sequences continuations of each prompt. `pairs` is empty, or holds the second text of each
  // source of an encoder-decoder. `on_text` receives the pieces of the text as they are
  // generated, for one prompt with one sequence and without beams; the first is the prompt. The result does
  // not depend on the batch. Throws Error for a prompt that leaves no position for a new token and for an
  // empty prompt where the model has no bos_token; UsageError for settings that contradict each other.
  std::vector<std::vector<GeneratedText>> generate(
      const std::vector<std::string>& prompts, const GenerationOptions& options,
      const std::function<void(const std::string&)>& on_text = {},
      const std::vector<std::string>& pairs = {}) const;
  // The settings of the folder: of generation_config.json; of an encoder-decoder that graft trained with the
  // beams and the length of its evaluation.
  const GenerationOptions& generation_options() const;
  // Of a causal language model: each text, truncated at max_seq_length.
  std::vector<TextLoss> losses(const std::vector<std::string>& texts) const;
  const Model& model() const;
  int64_t num_truncated() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace graft
