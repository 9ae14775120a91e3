// What a model's folder holds beside the parameters of the class that it is pretrained as.
#pragma once
#include <filesystem>

namespace graft::transfer {

// Adds to the model in `to` the backbone's tensors that only `from` has (BertForMaskedLM has no pooler, which
// a classifier reads) and the modules of sentence-transformers. Both are folders of one family.
void carry_over(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace graft::transfer
