// Any bytes as a .safetensors file: refused with an Error, or every tensor readable to its last byte.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "graft/error.h"
#include "hub/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace graft::hub;
  try {
    const StateDict dict = parse_safetensors({reinterpret_cast<const std::byte*>(data), size}, "fuzz");
    for (const TensorView& tensor : dict.tensors()) {
      const std::vector<std::byte> copy(tensor.data,
                                        tensor.data + tensor.num_bytes);  // asan sees a view that is too long
      if (dict.find(tensor.name) != &tensor) __builtin_trap();
    }
  } catch (const graft::Error&) {
  }
  return 0;
}
