// Compares a reference fixture with the code that training uses: outputs, loss, gradients and five optimizer
// steps.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/batch.h"
#include "graft/model.h"

namespace graft::train {

// The worst of one kind of quantity, as a share of its limit: above 1 is a failure.
struct ParityKind {
  std::string kind;        // "loss", "logits", "hidden states", "gradients", "step losses", "trained weights"
  int64_t tensors = 0;     // compared
  double worst_error = 0;  // largest absolute difference
  double worst_of_limit = 0;  // largest difference / its limit
  std::string worst_tensor;
};

struct ParityReport {
  std::string fixture;
  std::vector<ParityKind> kinds;
  std::vector<std::string> not_compared;  // fixture tensors that were not compared: a failure
  // What depends on the hidden states of padded positions, which do not exist here, with the reason. No
  // failure.
  std::vector<std::string> of_padding;
  bool ok() const;
};

// Runs one fixture folder (docs of the fixtures: config.json, model.safetensors, inputs.json, outputs, grads,
// after5, meta.json). Limits are the fixtures' own; in bf16 those of their README for bf16: loss, logits
// (median and worst) and the cosine of each gradient with the reference's (worst and median). Throws Error
// when the folder is not a fixture.
ParityReport run_parity(const std::filesystem::path& folder, bool bf16 = false);

// The inputs and labels of a fixture as one batch.
data::RaggedBatch fixture_batch(const std::filesystem::path& folder, const Model& model);

// The fixture folders at or below `folder`, sorted.
std::vector<std::filesystem::path> find_fixtures(const std::filesystem::path& folder);
Json to_json(const ParityReport& report);

}  // namespace graft::train
