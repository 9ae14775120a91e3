// MPNet (Song et al. 2020): BERT's layers with T5's relative positions, one table for all layers.
#pragma once
#include "models/family.h"

namespace graft::models {

const Family& mpnet_family();

}  // namespace graft::models
