// ModernBERT (Warner et al. 2024): pre-norm layers with rotary positions and a gated feed-forward part, most
// of them with attention to a window. Names are those of the checkpoint.
#pragma once
#include "models/family.h"

namespace graft::models {

const Family& modernbert_family();

}  // namespace graft::models
