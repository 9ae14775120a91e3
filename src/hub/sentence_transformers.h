// The folder format of sentence-transformers (Reimers and Gurevych 2019; files as its releases 2 to 6 write
// them): modules.json lists a transformer, a pooling over its tokens, and further modules.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace graft::hub {

enum class Pooling : uint8_t { cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken };
// Throws UsageError that lists the modes.
Pooling parse_pooling(const std::string& name);
const char* pooling_name(Pooling mode);  // as in "pooling_mode"

// A feed-forward module behind the pooling.
struct DenseModule {
  std::string path;  // its subfolder
  int64_t in_features = 0, out_features = 0;
  bool bias = true;
  std::string activation;  // as in config.json: "torch.nn.modules.activation.Tanh"
};

struct SentenceTransformer {
  std::filesystem::path folder;  // of modules.json
  std::string transformer_path;  // subfolder of the checkpoint; "" = the folder itself
  std::vector<Pooling>
      pooling;  // in the order in which the results are concatenated; empty = no pooling module
  int64_t embedding_dimension = 0;        // of a token, as the pooling's config.json has it; 0 = it has none
  bool include_prompt = true;             // the pooling reads the tokens of a prompt, too
  std::vector<DenseModule> dense;         // behind the pooling, before the normalisation
  bool normalize = false;                 // embeddings are scaled to length 1
  std::optional<int64_t> max_seq_length;  // tokens, special ones included
  bool do_lower_case = false;             // the text is lower-cased before the tokenizer reads it
  // The files of the three settings above, where the folder has them. `pooling_file` is empty too if another
  // module is between the transformer and the pooling.
  std::filesystem::path pooling_file, transformer_file;
  std::vector<std::string> other_modules;  // types that graft does not compute, for example LSTM
  // Of config_sentence_transformers.json: texts that are put before a text, by name.
  std::vector<std::pair<std::string, std::string>> prompts;
  std::string default_prompt_name;  // "" = none
};

// Reads modules.json and the modules' own files; nullopt if the folder has no modules.json. Throws Error with
// the file and the key for malformed json, a path that leads out of the folder, a missing pooling file or an
// unknown pooling mode.
std::optional<SentenceTransformer> read_sentence_transformer(const std::filesystem::path& folder);
// The same for the folder of the transformer, whose modules.json may be one folder above it.
std::optional<SentenceTransformer> modules_of_transformer(const std::filesystem::path& folder);

// Writes modules.json and the modules' files, without weights, for a transformer in the folder itself. All
// releases read them. Throws Error for modules that graft does not compute.
void write_sentence_transformer(const std::filesystem::path& folder, const SentenceTransformer& modules);

// The model that the folder's other files describe.
struct DescribedModel {
  std::filesystem::path config_file;
  int64_t hidden_size = 0, max_positions = 0;  // 0 = unknown
};

// The settings of sentence-transformers that contradict the model. Each is one warning that names both files
// and values.
std::vector<std::string> contradictions(const SentenceTransformer& modules, const DescribedModel& model);

// The folder of config.json and the weights: a subfolder (0_Transformer) in folders of old releases, else the
// folder itself.
std::filesystem::path transformer_folder(const std::filesystem::path& folder);

// True for the names in a model folder that belong to sentence-transformers: modules.json, 1_Pooling,
// 2_Normalize, ...
bool is_sentence_transformers_file(const std::string& name);

}  // namespace graft::hub
