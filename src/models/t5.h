// T5 and mT5 (Raffel et al. 2020; Xue et al. 2021): encoder-decoders with relative position biases.
#pragma once
#include "models/family.h"

namespace graft::models {

const Family& t5_family();
const Family& mt5_family();

}  // namespace graft::models
