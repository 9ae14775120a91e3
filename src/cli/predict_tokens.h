// graft predict for a model that labels the words of a text.
#pragma once
#include <cstddef>
#include <functional>
#include <string>

#include "graft/dataset.h"
#include "graft/token_classification.h"

namespace graft::cli {

// Reads texts, one a line (.txt, -), or rows with a text or with words (.jsonl, .json, .csv, CoNLL files) and
// writes a line of json for each: the entities of a text; tags and entities of words.
void predict_tokens(const TokenClassificationPipeline& pipeline, const std::string& input,
                    const DatasetOptions& columns, const std::string& output, size_t batch_size);

}  // namespace graft::cli
