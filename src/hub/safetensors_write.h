// The two halves of a safe save: everything on the disk under temporary names, then the renames.
#pragma once
#include <vector>

#include "hub/durable_file.h"
#include "hub/state_dict.h"

namespace graft::hub {

// Bytes of the tensor's values in the file; throws when its dtype or shape cannot be written.
uint64_t stored_bytes(const TensorToWrite& tensor);

// Writes and syncs the temporary of `path`; commit() of the result puts it into place.
DurableFile stage_safetensors(const std::filesystem::path& path, const std::vector<TensorToWrite>& tensors);

}  // namespace graft::hub
