// Properties of characters according to the reference's Unicode tables, in one table of flags.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace graft::text {

enum CharFlag : uint16_t {
  kWhitespace = 1,   // White_Space
  kPunctuation = 2,  // ASCII punctuation and symbols, and general category P
  kOther = 4,        // general category Cc, Cf, Co
  kNonspacing = 8,   // Mn
  kMark = 16,        // M
  kLetter = 32,      // L
  kNumber = 64,      // N
  kChinese = 128,    // the CJK blocks that BERT isolates
  kWord = 256,       // \w: alphabetic, marks, decimal digits, connectors, joiners
  kNumeric = 512,    // N in the newer table of the Digits pre-tokenizer
};

namespace detail {
inline constexpr char32_t kTableSize = 0x20000;
extern const uint16_t* const kCharFlags;  // for code points below kTableSize
uint16_t compute_char_flags(char32_t c);
}  // namespace detail

inline uint16_t char_flags(char32_t c) {
  return c < detail::kTableSize ? detail::kCharFlags[c] : detail::compute_char_flags(c);
}
inline bool is_whitespace(char32_t c) { return char_flags(c) & kWhitespace; }
inline bool is_punctuation(char32_t c) { return char_flags(c) & kPunctuation; }
inline bool is_numeric(char32_t c) { return char_flags(c) & kNumeric; }

// True if the reference's normal forms do not decompose this character and newer tables do.
bool is_not_decomposed(char32_t c);
// True if the reference's older table of combining marks lacks this character (class 0).
bool is_late_mark(char32_t c);

// Full lower-case mapping without context: one character, except U+0130, which becomes two.
int to_lower(char32_t c, char32_t out[2]);
// The text in lower case; invalid UTF-8 is replaced.
std::string lower_case(std::string_view text);

// Length of the sequence that starts with this byte of a valid text.
inline int sequence_length(char lead) {
  const auto b = static_cast<unsigned char>(lead);
  return b < 0x80 ? 1 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
}
inline uint8_t byte_at(std::string_view text, size_t pos) { return static_cast<uint8_t>(text[pos]); }
inline bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// Decodes the character at `pos` of a valid text and moves `pos` to the next character.
inline char32_t next_char(std::string_view text, size_t& pos) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data()) + pos;
  if (p[0] < 0x80) return pos += 1, p[0];
  if (p[0] < 0xE0) return pos += 2, char32_t(p[0] & 0x1F) << 6 | (p[1] & 0x3F);
  if (p[0] < 0xF0) return pos += 3, char32_t(p[0] & 0x0F) << 12 | char32_t(p[1] & 0x3F) << 6 | (p[2] & 0x3F);
  pos += 4;
  return char32_t(p[0] & 0x07) << 18 | char32_t(p[1] & 0x3F) << 12 | char32_t(p[2] & 0x3F) << 6 |
         (p[3] & 0x3F);
}

// Number of code points in a valid text.
size_t count_chars(std::string_view text);

// GPT-2's alphabet: each byte as a printable character, and back (-1 for a character outside the alphabet).
char32_t byte_to_char(uint8_t byte);
int char_to_byte(char32_t c);

}  // namespace graft::text
