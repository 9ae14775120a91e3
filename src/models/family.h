// A model family: everything that graft needs to know of one model_type, as one value. `registry.h` lists
// them.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "hub/state_dict.h"
#include "models/config.h"
#include "models/network.h"

namespace graft::models {

// What a head computes. All families share these.
struct HeadKind {
  const char* task;              // canonical task name
  const char* alias;             // its name in the reference's pipelines
  const char* class_suffix;      // of the reference's class: BertForMaskedLM
  bool has_labels = false;       // id2label of config.json has a name for each output
  bool predicts_tokens = false;  // one output for each token of the vocabulary
  bool predicts_next = false;    // a row's label is the token behind it
  bool reads_target = false;    // of an encoder-decoder: the decoder reads the labels, one place to the right
  bool predicts_spans = false;  // two outputs for each row: the scores of a span's start and end
  bool is_bare = false;         // no head of its own: saved as the backbone's class, without the base prefix
  bool generates() const { return predicts_next || reads_target; }
};

inline constexpr const char* kGeneratorScope = "generator";

struct FamilyHead {
  const HeadKind* kind;
  Network (*make)(engine::ParameterStore& store, const ModelConfig& config);
  const char* class_suffix = nullptr;  // where the family's class does not end in that of the kind
};

// A key of config.json that changes the computation. The value `accepted` (as JSON; null is always accepted)
// is what graft computes.
struct RefusedKey {
  const char* name;
  const char* accepted;
  const char* other_values;        // what they ask for
  bool when_initialising = false;  // only where weights are initialised: a checkpoint holds the values
};

// The keys of config.json that the family adds to those of every model (config_keys.cpp).
struct FamilyKeys {
  std::vector<const char*> used;
  std::vector<RefusedKey> refused;
  std::vector<std::pair<const char*, const char*>> second_spellings;  // {accepted, own}
  std::vector<const char*> harmless = {};                             // without an effect on these heads
};

// The decoder of a masked-LM head under its own names, and the bias that it is tied to: with
// tie_word_embeddings each pair is one parameter, and a file may hold it under either name (transformers 4.57
// and 5.24, _tied_weights_keys).
struct TiedDecoder {
  const char* weight = nullptr;
  const char *bias = nullptr, *tied_bias = nullptr;  // null: the two biases have one name
};

struct Family {
  const char* model_type;    // as in config.json
  const char* class_prefix;  // of the reference's classes: BertForMaskedLM
  const char* base_prefix;   // of the backbone's tensors
  const char* embeddings;    // scope of the embeddings' tensors
  const char* layers;        // scope of the layers: layers.0, layers.1, ...
  SizeKeys sizes;
  std::vector<FamilyHead> heads;
  FamilyKeys keys;
  TiedDecoder decoder;
  std::vector<const char*> buffers = {};  // how the names of tensors end that are no parameters
  // The first parts of the backbone's names in classes of the reference that have no base prefix, and the
  // layers of a decoder behind `layers`; both without the prefix.
  std::vector<const char*> bare = {};
  const char* decoder_layers = nullptr;
  std::vector<const char*> embedding_copies = {};  // other names of the word embeddings in files
  // Brings keys that releases write differently into one form; `weights`: of the checkpoint, null for random
  // ones.
  void (*settle)(ModelConfig& config, const hub::StateDict* weights) = nullptr;
  // Whether a file must hold the tied decoder as a tensor of its own, and the keys that go with it.
  bool (*copies_decoder)(const ModelConfig& config) = nullptr;
  void (*saved_form)(Json& config) = nullptr;
  std::vector<const char*> below_layers = {};  // scopes of tensors below the layers beside the embeddings'
  // Of a family that learns to detect replaced tokens (models/generator.h): a masked language model that is
  // declared below kGeneratorScope. The embeddings that are set in `shared` are its own, too.
  Network (*make_generator)(engine::ParameterStore& store, const ModelConfig& config,
                            const engine::Embeddings& shared) = nullptr;
};

// Whether a parameter or tensor of this name belongs to the backbone and not to a head.
bool is_backbone(const Family& family, const std::string& name);
// A backbone's name without the base prefix if it has it, else with it.
std::string other_backbone_name(const Family& family, const std::string& name);

// A layer's number in a parameter's name, and where it stands.
struct PlaceInName {
  size_t begin = 0, end = 0;
  int64_t layer = 0;
  bool of_decoder = false;
};

// Of a parameter or module, with or without the base prefix; none outside of the layers.
std::optional<PlaceInName> layer_in_name(const Family& family, const std::string& name);

// As in config.json's "architectures": "BertForMaskedLM".
std::string class_name(const Family& family, const HeadKind& kind);

}  // namespace graft::models
