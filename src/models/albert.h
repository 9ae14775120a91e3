// ALBERT (Lan et al. 2020): layers that share their parameters behind embeddings of a size of their own.
#pragma once
#include "models/family.h"

namespace graft::models {

const Family& albert_family();

}  // namespace graft::models
