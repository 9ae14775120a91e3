// Embeddings of texts: vectors whose cosine says how alike two texts are.
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

struct EmbedderOptions {
  int batch_size = 32;         // texts in one pass; results do not depend on it
  int max_seq_length = 0;      // 0 = that of the folder, else the model's limit
  int num_threads = 0;         // per call; 0 = all cores
  std::optional<bool> bf16{};  // matrix products in bf16; default: as the model was trained, else fp32
  std::string pooling{};       // cls, max, mean, mean_sqrt_len_tokens, weightedmean or lasttoken; "" = the
                               // folder's own, else mean
  std::optional<bool> normalize{};      // embeddings of length 1; default: as the folder says, else no
  std::optional<std::string> prompt{};  // put before every text
  std::string prompt_name{};            // a prompt of the folder; "" = its default, if it has one
};

// A folder of sentence-transformers, or any checkpoint of an encoder, whose head is then not read.
// Thread-safe: many threads may call one embedder, and results do not depend on other threads or on other
// texts of a call, bit for bit.
class GRAFT_API Embedder {
 public:
  // Throws Error as Model and Tokenizer do, and for modules that graft does not compute or that contradict
  // the model.
  explicit Embedder(const std::filesystem::path& folder, const EmbedderOptions& options = {});
  ~Embedder();
  Embedder(Embedder&&) noexcept;

  // [texts, dimension()], row by row in the order of the texts.
  std::vector<float> embed(const std::vector<std::string>& texts) const;
  int64_t dimension() const;
  const std::string& prompt() const;  // what is put before each text; "" = nothing
  const Model& model() const;
  // Number of texts truncated at max_seq_length since construction.
  int64_t num_truncated() const;
  int64_t max_seq_length() const;  // tokens, special ones included; 0 = no limit

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace graft
