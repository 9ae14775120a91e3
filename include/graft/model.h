// A pretrained checkpoint with a task's head: loaded from and saved to Hugging Face's folder format.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graft/export.h"

namespace graft {

namespace models {
struct State;
}

struct ModelOptions {
  std::string task = "sequence-classification";  // as on the command line, or an alias
  int num_labels = 0;                            // 0 = from config.json, 2 if it has none
  std::vector<std::string> labels{};             // names in the order of ids; decides num_labels
  std::string problem_type{};                    // "" = from config.json, or inferred from the labels
  std::string pooling{};                         // of sentence-embedding; "" = the folder's, else mean
  std::optional<bool> normalize{};               // likewise: embeddings of length 1; else as they are
  bool ignore_mismatched_sizes = false;          // reinitialise tensors of another shape instead of refusing
  uint64_t seed = 42;                            // of newly initialised tensors
  // Probabilities of dropout in place of those of config.json, by their keys there: "hidden_dropout_prob".
  std::vector<std::pair<std::string, double>> dropout{};
  // Of from_pretrained: the folder of a language adapter (MAD-X, Pfeiffer et al. 2020), frozen below the
  // adapters that the folder holds or training adds; "" = the one that the folder's adapters name, if any.
  std::filesystem::path load_lang_adapter{};
};

// Tensors that the checkpoint and the model do not share.
struct LoadReport {
  std::vector<std::string> missing;     // newly initialised (a new head)
  std::vector<std::string> unexpected;  // in the checkpoint, not in the model
  std::vector<std::string> mismatched;  // reinitialised because of a shape mismatch
};

class GRAFT_API Model {
 public:
  // From a checkpoint folder. Throws Error naming file, key or tensor: unknown model_type, missing backbone
  // tensor, tensor of another shape.
  static Model from_pretrained(const std::filesystem::path& folder, const ModelOptions& options = {});
  // From a config.json alone: random weights.
  static Model from_config(const std::filesystem::path& config_file, const ModelOptions& options = {});

  // Writes config.json and model.safetensors (sharded above 5 GB) as `transformers` reads them. The files are
  // replaced together: after a crash no new weights lie beside an old config.json. `dtype` is the stored
  // type: float32, float16 or bfloat16. Throws Error for another.
  void save_pretrained(const std::filesystem::path& folder, const std::string& dtype = "float32") const;

  // A second model with the same backbone and the head of `options.task`. Parameters that both heads have are
  // copied, the others are newly initialised (load_report().missing): the same values as saving this model
  // and loading it with `options`. vocab_size > 0 resizes the vocabulary: new rows start as the mean of the
  // old ones (as resize_token_embeddings of transformers 5, without its noise of variance 1e-9), the bias of
  // a new output as the mean bias; rows beyond the new size are dropped. The problem_type stays with a head
  // that is kept (the same task and number of labels); a new head infers its own. Throws Error, as
  // from_pretrained does.
  Model with_task(const ModelOptions& options, int64_t vocab_size = 0) const;

  const std::string& task() const;
  std::string model_type() const;
  std::vector<std::string> labels() const;  // id2label; empty for masked-lm
  std::string problem_type() const;         // "" = inferred from the labels
  int64_t num_parameters() const;
  int64_t max_positions() const;  // tokens a sequence may have beside virtual ones; 0 = no limit
  const LoadReport& load_report() const;

  models::State& state() const { return *state_; }
  explicit Model(std::shared_ptr<models::State> state) : state_(std::move(state)) {}

 private:
  std::shared_ptr<models::State> state_;
};

}  // namespace graft
