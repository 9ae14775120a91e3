// ELECTRA (Clark et al. 2020), generator and discriminator: BERT's layers behind embeddings of a size of
// their own.
#pragma once
#include "models/family.h"

namespace graft::models {

const Family& electra_family();

}  // namespace graft::models
