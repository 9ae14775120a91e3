// A tensor of what a run keeps beside the weights, as checkpoints save it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/dtype.h"

namespace graft::train {

// The memory is owned by what saved the tensor.
struct StateTensor {
  std::string name;
  std::vector<int64_t> shape;
  DType dtype = DType::f32;
  const void* data = nullptr;
};

}  // namespace graft::train
