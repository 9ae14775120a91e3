// pytorch_model.bin: a state dict of torch.save, in the zip layout and in the older one (torch < 1.6).
#pragma once
#include <span>
#include <string>

#include "hub/state_dict.h"

namespace graft::hub {

// Nothing in the file is executed: the reader of the pickle accepts the parts of a state dict only
// (pickle.h). Anything else is an error with its name. Tensors that share storage share memory.
StateDict read_torch_bin(const std::filesystem::path& file);

// The same for bytes, which must outlive the result.
StateDict parse_torch_bin(std::span<const std::byte> bytes, const std::string& origin);

}  // namespace graft::hub
