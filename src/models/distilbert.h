// DistilBERT (Sanh et al. 2019): BERT's layers under other names, no token types, no pooler.
#pragma once
#include "models/family.h"

namespace graft::models {

const Family& distilbert_family();

}  // namespace graft::models
