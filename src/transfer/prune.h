// A smaller copy of a model: some of its layers, and the part of its vocabulary that occurs in given texts.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "graft/dataset.h"
#include "graft/model.h"
#include "graft/tokenizer.h"

namespace graft::transfer {

struct PruneOptions {
  std::filesystem::path model, output_dir;
  std::string layers;                             // "0,2,4", or "3": evenly spread; "" = all
  std::vector<std::filesystem::path> vocabulary;  // texts; empty = the vocabulary stays
  DatasetOptions columns;                         // of texts in files that have columns
  int64_t vocabulary_size = 0;                    // 0 = every piece that occurs
  int64_t min_count = 1;                          // of a piece in the texts
};

// Sizes of a folder.
struct ModelSize {
  int64_t layers = 0, vocabulary = 0, parameters = 0;
  uint64_t bytes = 0;  // of the weights on disk
};

struct PruneReport {
  ModelSize before, after;
  double kept_tokens = 1;  // share of the texts' tokens whose pieces stay
};

// Throws Error for options that name no part of the model and for texts that keep no piece.
PruneReport prune(const PruneOptions& options);

ModelSize size_of(const std::filesystem::path& folder, const Model& model);

// The layers that `text` names, of `total`. Throws UsageError.
std::vector<int64_t> parse_layers(const std::string& text, int64_t total);

}  // namespace graft::transfer
