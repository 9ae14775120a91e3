// Translation language modelling (Conneau and Lample 2019, "Cross-lingual Language Model Pretraining"): two
// sentences that are translations of each other are one sequence in which both are masked, so that the words
// of one help to find those of the other.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "tasks/task_table.h"

namespace graft::tasks {

// `source`[i] and `target`[i] are a pair, as the tokenizer forms pairs: its special tokens and
// token_type_ids, and positions that count on through both (the paper's count from 0 again in the target).
// Longer pairs lose tokens of the longer side. `part` names the pairs in the log. Throws Error for an id
// without a row in the embedding and for a tokenizer without a mask token.
std::unique_ptr<Features> translation_features(const Model& model, const Tokenizer& tokenizer,
                                               const std::vector<std::string>& source,
                                               const std::vector<std::string>& target,
                                               const FeatureSettings& settings, const char* part);

}  // namespace graft::tasks
