// DistilBERT (Sanh et al. 2019): BERT's layers under other names, no token types, no pooler.
#pragma once
#include "models/config.h"
#include "models/transformer.h"

namespace graft::models {

Network make_distilbert_sequence_classification(engine::ParameterStore& store, const ModelConfig& config);
Network make_distilbert_masked_lm(engine::ParameterStore& store, const ModelConfig& config);

}  // namespace graft::models
