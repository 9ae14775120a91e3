// graft merge --adapter: a whole model of a base model and its adapters.
#pragma once
#include <string>

namespace graft::cli {

// Writes the base model of the folder `adapter` with the adapters in its weights, its tokenizer and the
// settings of its training into `output_dir`.
void merge_adapter_folder(const std::string& adapter, const std::string& output_dir);

}  // namespace graft::cli
