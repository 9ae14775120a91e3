// The tensors in the pickle of a PyTorch state dict, as strided views of storages.
#pragma once
#include <map>
#include <span>
#include <string>
#include <vector>

#include "hub/pickle.h"
#include "hub/state_dict.h"

namespace graft::hub {

struct TorchStorage {
  DType dtype = DType::f32;
  uint64_t num_elements = 0;
  uint64_t num_bytes() const { return num_elements * dtype_size(dtype); }
};

class TorchTensors {
 public:
  // Reads the whole pickle; throws if it is not a flat dict of tensors.
  TorchTensors(const Pickle& pickle, const std::string& origin);

  const std::map<std::string, TorchStorage, std::less<>>& storages() const { return storages_; }
  // The tensors over the bytes of their storages (which must outlive the result). Contiguous ones are views,
  // aliases share memory; others are copied.
  StateDict state_dict(const std::map<std::string, std::span<const std::byte>, std::less<>>& storages) const;

 private:
  struct Spec {
    std::string name, key;
    DType dtype = DType::f32;
    uint64_t begin = 0, end = 0;  // the storage's (or its view's) elements
    uint64_t offset = 0;          // of the first element, from `begin`
    std::vector<int64_t> shape, stride;
  };

  void add_storage(const PickleValue& persistent);
  void add_entry(uint32_t key, uint32_t value);
  Spec read_tensor(const std::string& name, const PickleValue& call) const;
  void read_storage_of(Spec& spec, const PickleValue& persistent) const;
  std::vector<int64_t> counts(const std::string& name, uint32_t tuple) const;
  uint64_t count(const std::string& name, uint32_t value) const;
  void check_bounds(const Spec& spec) const;
  [[noreturn]] void refuse(const std::string& name, const std::string& what) const;

  const Pickle& pickle_;
  const std::string& origin_;
  std::map<std::string, TorchStorage, std::less<>> storages_;
  std::vector<Spec> specs_;
};

}  // namespace graft::hub
