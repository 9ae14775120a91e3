// Normalizers of tokenizer.json: they rewrite the text before it is cut into words.
#pragma once
#include <memory>
#include <string>

#include "base/json.h"
#include "text/aligned_text.h"

namespace graft::text {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void normalize(AlignedText& text) const = 0;
};

// From the "normalizer" block; null gives nullptr. An unknown type is an Error with its name; `where` is the
// file for the message.
std::unique_ptr<Normalizer> make_normalizer(const Json& json, const std::string& where);

struct BertNormalizerOptions {
  bool clean_text = true, handle_chinese_chars = true, strip_accents = true, lowercase = true;
};
BertNormalizerOptions bert_normalizer_options(const Json& json);

enum class NormalForm { nfc, nfd, nfkc, nfkd };
// Canonical or compatibility forms with alignments (normalization_forms.cpp).
void normalize_form(AlignedText& text, NormalForm form);
// A quick check: true only if the form leaves every character unchanged. False does not imply a change.
bool is_surely_normal(std::string_view text, NormalForm form);

// The sentencepiece character map (charsmap.cpp): `blob` is the decoded precompiled_charsmap.
std::unique_ptr<Normalizer> make_charsmap(std::string blob, const std::string& where);
std::string decode_base64(const std::string& text, const std::string& where);
std::string encode_base64(std::string_view bytes);

}  // namespace graft::text
