// UTF-8: validation, decoding, and Python's errors="replace".
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace graft::utf8 {

// Length in bytes of the valid sequence at text[pos]; 0 if it is invalid (overlong, surrogate, > 10FFFF,
// incomplete). On success `code_point` holds the character.
int decode(std::string_view text, size_t pos, char32_t& code_point);

// Appends the UTF-8 form of `code_point` (must be a scalar value) to `out`.
void append(std::string& out, char32_t code_point);

// Byte offset of the first invalid sequence, or npos.
size_t find_invalid(std::string_view text);

// As Python's bytes.decode("utf-8", errors="replace"): each maximal invalid part becomes one U+FFFD.
// `count`, when given, is increased by the number of replacements.
std::string replace_invalid(std::string_view text, size_t* count = nullptr);

// The text without a byte-order mark (EF BB BF) at its start. Every reader of text files removes it.
inline std::string_view without_bom(std::string_view text) {
  return text.substr(0, 3) == "\xEF\xBB\xBF" ? text.substr(3) : text;
}

// White space, as Python's str.isspace() and str.split() have it.
bool is_space(char32_t c);

// Number of code points of a valid text.
size_t length(std::string_view text);

}  // namespace graft::utf8
