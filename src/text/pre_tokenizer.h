// Pre-tokenizers of tokenizer.json: they cut the normalized text into words, the input of the model.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/aligned_text.h"

namespace graft::text {

// A text and the words in it: ranges of its bytes, in order, none empty.
struct PreTokenized {
  AlignedText text;
  std::vector<Span> words;
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void pre_tokenize(PreTokenized& text) const = 0;
};

// From the "pre_tokenizer" block; null gives nullptr (the whole text is one word).
std::unique_ptr<PreTokenizer> make_pre_tokenizer(const Json& json, const std::string& where);

// "prepend_scheme", or the older "add_prefix_space".
enum class PrependScheme { always, first, never };
PrependScheme parse_prepend_scheme(const Json& json, const std::string& where);

// Ranges [begin, end) of one script each, as the reference groups scripts (scripts.cpp).
void split_scripts(std::string_view text, size_t begin, size_t end, std::vector<Span>& out);

}  // namespace graft::text
