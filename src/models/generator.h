// The generator of replaced-token detection (Clark et al. 2020, "ELECTRA"): a small masked language model
// that is trained beside a discriminator. Its parameters are in the discriminator's store, so that one
// optimizer moves both. It is saved as a folder of its own inside the model's (saved_model.h).
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "models/config.h"
#include "models/network.h"

namespace graft::models {

struct State;

// The folder of the generator in that of the model.
inline constexpr const char* kGeneratorFolder = "generator";

struct Generator {
  ModelConfig config;
  Network network;
  struct Tensor {
    std::string name;  // in its own folder
    engine::Parameter* parameter;
  };
  std::vector<Tensor> tensors;  // those of its class, shared ones too
};

// Gives a discriminator the generator of a folder. Embeddings that have the shape and the values of the
// discriminator's become its own, as those of a pair that was pretrained together; others stay apart. The log
// says which. Throws Error for a folder without a masked-LM head, of another family or of another vocabulary.
void add_generator(State& state, const std::filesystem::path& folder);

}  // namespace graft::models
