// DeBERTa-v2 and v3 (He et al. 2021, 2023).
#pragma once
#include "models/family.h"

namespace graft::models {

const Family& deberta_v2_family();

}  // namespace graft::models
