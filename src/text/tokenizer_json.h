// Reading tokenizer.json.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "text/file_tokenizer.h"

namespace graft::text {

// Reads the text of a tokenizer.json. `where` (a path) starts every message. The scores of a Unigram model
// are read as the reference's JSON reader reads them (serde_number.h). `exact_scores` replaces them if the
// text was made from a sentencepiece model.
TokenizerParts read_tokenizer_json(std::string json_text, const std::string& where,
                                   std::vector<double> exact_scores = {});

// `json_text` with its "added_tokens" replaced; all other bytes are unchanged.
std::string with_added_tokens(const std::string& json_text, const std::string& added_tokens);

// A tokenizer from the text of a tokenizer.json (for tests and training).
std::shared_ptr<Tokenizer> tokenizer_from_json(std::string json_text, const std::string& where);

}  // namespace graft::text
