// GPT-2 (Radford et al. 2019): a pre-norm decoder whose matrices lie transposed in the checkpoint.
#pragma once
#include "models/family.h"

namespace graft::models {

const Family& gpt2_family();

}  // namespace graft::models
