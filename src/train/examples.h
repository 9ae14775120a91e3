// Labelled examples to features, with what the user must know about them.
#pragma once
#include <memory>
#include <string>

#include "data/labels.h"
#include "graft/dataset.h"
#include "graft/model.h"
#include "graft/tokenizer.h"
#include "tasks/sequence_classification.h"

namespace graft::train {

// Encodes `dataset`; warns of what was cut at max_seq_length (0 = no limit) and of unknown tokens. Error that
// names file and line for a token without a row in the model's embedding. `part` starts the warnings.
std::unique_ptr<tasks::TextFeatures> encode_examples(const std::string& part, const Dataset& dataset,
                                                     const data::LabelMap& labels, const Model& model,
                                                     const Tokenizer& tokenizer, int64_t max_seq_length);

}  // namespace graft::train
