// Encodes labelled examples and logs warnings about them.
#pragma once
#include <memory>
#include <string>

#include "data/labels.h"
#include "graft/dataset.h"
#include "graft/model.h"
#include "graft/tokenizer.h"
#include "tasks/task_table.h"
#include "tasks/text_features.h"

namespace graft::tasks {

// Encodes a set of rows; those in a file go through the cache that `settings` name, if they name one.
// Warns of examples truncated at max_seq_length (0 = no limit) and of unknown tokens. Throws Error with file
// and line for a token without a row in the model's embedding. `part` is the prefix of the warnings.
std::unique_ptr<TextFeatures> encode_examples(const std::string& part, const Dataset& dataset,
                                              const data::LabelMap& labels, const Model& model,
                                              const Tokenizer& tokenizer, const FeatureSettings& settings);

// Warns if one set has pairs of texts and the other single texts.
void warn_of_other_inputs(const Dataset& train, const Dataset& other);

}  // namespace graft::tasks
