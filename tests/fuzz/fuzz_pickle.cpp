// Any bytes as a pytorch_model.bin: a zip archive, a file of the layout before it, and (behind a first byte
// of 0) a bare pickle with one storage for every key that it names.
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "graft/error.h"
#include "hub/torch_bin.h"
#include "hub/torch_tensors.h"

namespace {

using namespace graft::hub;

void read_all(const StateDict& dict) {
  for (const TensorView& tensor : dict.tensors())
    const std::vector<std::byte> copy(tensor.data,
                                      tensor.data + tensor.num_bytes);  // asan sees a view that is too long
}

void read_bare_pickle(std::span<const std::byte> bytes) {
  const std::string origin = "fuzz";
  const Pickle pickle(bytes, origin);
  const TorchTensors tensors(pickle, origin);
  std::vector<std::vector<std::byte>> contents;
  std::map<std::string, std::span<const std::byte>, std::less<>> storages;
  for (const auto& [key, storage] : tensors.storages()) {
    if (storage.num_bytes() > 1 << 16) return;
    contents.emplace_back(storage.num_bytes());
    storages[key] = contents.back();
  }
  read_all(tensors.state_dict(storages));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  try {
    if (size > 0 && data[0] == 0) {
      read_bare_pickle(bytes.subspan(1));
    } else {
      read_all(parse_torch_bin(bytes, "fuzz"));
    }
  } catch (const graft::Error&) {
  }
  return 0;
}
