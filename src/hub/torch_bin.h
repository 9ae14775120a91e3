// pytorch_model.bin: a state dict as torch.save writes it, in the zip layout and in the one before it (torch
// < 1.6).
#pragma once
#include <span>
#include <string>

#include "hub/state_dict.h"

namespace graft::hub {

// Nothing in the file is executed: the pickle is read by a machine that knows only what a tensor state dict
// is made of (pickle.h) and refuses everything else by name. Tensors that share storage share memory.
StateDict read_torch_bin(const std::filesystem::path& file);

// The same from bytes, which must outlive the result.
StateDict parse_torch_bin(std::span<const std::byte> bytes, const std::string& origin);

}  // namespace graft::hub
