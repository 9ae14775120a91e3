// Model folders that are derived from other ones.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>

#include "graft/model.h"
#include "graft/tokenizer.h"

namespace graft::transfer {

// Writes the model with the tokenizer, and with training_args.json and the stored type of the folder `from`.
// The files are replaced together; `change` may edit the tokenizer's files before.
void save_derived(const Model& model, const std::filesystem::path& from, const Tokenizer& tokenizer,
                  const std::filesystem::path& output_dir,
                  const std::function<void(const std::filesystem::path&)>& change = {});

// Throws Error naming the first weight that is NaN or infinite.
void check_finite(const Model& model, const std::filesystem::path& folder);

// Throws UsageError for a folder of adapters without the weights of their base.
void check_whole_model(const std::filesystem::path& folder);

// Throws UsageError if the output folder is that of the model `from`.
void check_other_folder(const std::filesystem::path& from, const std::filesystem::path& output_dir);

// Throws Error naming the first piece in which the tokenizers of two folders differ.
void check_same_pieces(const std::filesystem::path& a, const std::filesystem::path& b);

// Of all tensors of the folder.
uint64_t weight_bytes(const std::filesystem::path& folder);

}  // namespace graft::transfer
