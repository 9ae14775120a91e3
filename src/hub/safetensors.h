// The safetensors format (https://github.com/huggingface/safetensors#format): u64 header size, a JSON header
// {name: {dtype, shape, data_offsets}}, then the tensors' bytes without holes.
#pragma once
#include <span>
#include <string>

#include "hub/state_dict.h"

namespace graft::hub {

// The reference refuses larger headers too.
constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;

// The tensors of a file's bytes, which must outlive the result. `origin` names them in messages. Tensors come
// in the order of their data.
StateDict parse_safetensors(std::span<const std::byte> bytes, const std::string& origin);

// Throws if `bytes` is a common mistake: a Git LFS pointer or an HTML page in place of the weights.
void refuse_lookalikes(std::span<const std::byte> bytes, const std::string& origin);

}  // namespace graft::hub
