// Decoders of tokenizer.json: tokens back to text.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/json.h"

namespace graft::text {

// Rewrites the list of tokens; the text is their concatenation. Empty for "decoder": null (tokens joined by
// spaces).
using Decoder = std::function<void(std::vector<std::string>&)>;

Decoder make_decoder(const Json& json, const std::string& where);

// WordPiece's clean-up of a piece of text: removes the space before punctuation and in contractions.
std::string clean_up_pieces(std::string text);
std::string replace_all(std::string text, std::string_view from, std::string_view to);

}  // namespace graft::text
