// Named tensors of a checkpoint, still in their file.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/dtype.h"

namespace graft::hub {

// One tensor, contiguous and row-major. `data` points into memory that the StateDict keeps alive; it need not
// be aligned to the type (copy with memcpy or copy_to_float).
struct TensorView {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  const std::byte* data = nullptr;
  size_t num_bytes = 0;
  std::string file;  // for messages

  int64_t num_elements() const;
};

// Tensors in the order of their files, found by name.
class StateDict {
 public:
  void add(TensorView tensor);  // throws if a tensor of this name exists
  void keep(
      std::shared_ptr<const void> owner);  // memory (a mapping, an inflated archive) the views point into
  const TensorView* find(const std::string& name) const;  // nullptr if absent
  const std::vector<TensorView>& tensors() const { return tensors_; }

 private:
  std::vector<TensorView> tensors_;
  std::unordered_map<std::string, size_t> index_;
  std::vector<std::shared_ptr<const void>> owners_;
};

// Copies a tensor to fp32 (from F32, F16, BF16, F64); throws on other types and on values that fp32 cannot
// hold, naming the tensor.
void copy_to_float(const TensorView& tensor, float* out);

// One .safetensors file, memory-mapped and checked completely (header size, offsets, overlaps, gaps, shapes)
// before a tensor is returned.
StateDict read_safetensors(const std::filesystem::path& file);

// The weights of a folder, first found of: model.safetensors, model.safetensors.index.json (sharded),
// pytorch_model.bin (zip or legacy), pytorch_model.bin.index.json. The error for a folder without weights
// lists its files.
StateDict read_checkpoint(const std::filesystem::path& folder);

// A tensor to write: fp32 values converted to `dtype` while writing, or bytes that are of this type already.
struct TensorToWrite {
  std::string name;
  std::vector<int64_t> shape;
  DType dtype = DType::f32;
  const float* data = nullptr;
  bool transposed = false;      // data is the transpose of a matrix of `shape`
  const void* bytes = nullptr;  // set: written as they are, instead of `data`
};

// Bytes of the tensor's values in a file; throws if its dtype or shape cannot be written.
uint64_t stored_bytes(const TensorToWrite& tensor);

// Writes a file as the reference does (metadata format "pt", tensors sorted as safetensors sorts them: by
// dtype size descending, then name; header padded to 8 bytes), as a DurableFile.
void write_safetensors(const std::filesystem::path& file, const std::vector<TensorToWrite>& tensors);

// model.safetensors, or shards of at most `max_shard_bytes` with model.safetensors.index.json, in a folder
// that holds no weights yet (StagedFiles::path()). Returns the files written.
std::vector<std::filesystem::path> write_checkpoint(const std::filesystem::path& folder,
                                                    const std::vector<TensorToWrite>& tensors,
                                                    uint64_t max_shard_bytes = 5'000'000'000);
// True for the names of files that write_checkpoint writes, and of those of an adapter. Such a file of an
// earlier save is stale after a later one.
bool is_written_weights(const std::string& name);

}  // namespace graft::hub
