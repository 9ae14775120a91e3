// Reading tokenizer.json.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "text/file_tokenizer.h"

namespace graft::text {

// Reads the whole of a tokenizer.json's text into parts. `where` (a path) starts every message. The scores of
// a Unigram model are read as the reference's JSON reader reads them (serde_number.h), or are `exact_scores`
// where the text was made from a sentencepiece model.
TokenizerParts read_tokenizer_json(std::string json_text, const std::string& where,
                                   std::vector<double> exact_scores = {});

// `json_text` with its "added_tokens" replaced, everything else byte by byte as it was.
std::string with_added_tokens(const std::string& json_text, const std::string& added_tokens);

// A model for the "model" block built from parts (for tests and training).
std::shared_ptr<Tokenizer> tokenizer_from_json(std::string json_text, const std::string& where);

}  // namespace graft::text
