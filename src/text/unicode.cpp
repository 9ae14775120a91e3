#include "text/unicode.h"

#include "base/utf8.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "text/unicode_differences.h"

namespace graft::text {
namespace {

bool is_chinese(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

bool has_white_space(char32_t c) {
  return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

// Alphabetic characters outside category L: Nl and Other_Alphabetic. The latter are in M, which counts
// anyway, and in So.
bool is_other_alphabetic(char32_t c) {
  return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
         (c >= 0x1F170 && c <= 0x1F189);
}

template <class R, size_t n>
const R* find_range(const R (&ranges)[n], char32_t c) {
  const R* it =
      std::upper_bound(ranges, ranges + n, c, [](char32_t x, const R& range) { return x < range.first; });
  return it != ranges && c <= std::prev(it)->last ? std::prev(it) : nullptr;
}

// The flags according to the reference's tables.
uint16_t with_differences(char32_t c, uint16_t flags) {
  const auto has = [&](const auto& ranges, CharFlag flag) {
    if (find_range(ranges, c)) flags |= flag;
  };
  const auto lacks = [&](const auto& ranges, CharFlag flag) {
    if (find_range(ranges, c)) flags &= static_cast<uint16_t>(~flag);
  };
  has(kHasPunctuation, kPunctuation);
  lacks(kLacksPunctuation, kPunctuation);
  lacks(kLacksOther, kOther);
  has(kHasNonspacing, kNonspacing);
  lacks(kLacksNonspacing, kNonspacing);
  has(kHasMark, kMark);
  lacks(kLacksMark, kMark);
  has(kHasLetter, kLetter);
  has(kHasNumber, kNumber);
  has(kHasNumeric, kNumeric);
  has(kHasWord, kWord);
  return flags;
}

const uint16_t* build_table() {
  auto* table = new uint16_t[detail::kTableSize];  // never freed
  for (char32_t c = 0; c < detail::kTableSize; ++c) table[c] = detail::compute_char_flags(c);
  return table;
}

struct ByteAlphabet {
  std::array<char32_t, 256> to_char;
  std::array<int16_t, 324> to_byte;
  ByteAlphabet() {
    to_byte.fill(-1);
    char32_t next = 256;
    for (int b = 0; b < 256; ++b) {
      const bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      to_char[b] = printable ? static_cast<char32_t>(b) : next++;
      to_byte[to_char[b]] = static_cast<int16_t>(b);
    }
  }
};
const ByteAlphabet& byte_alphabet() {
  static const ByteAlphabet alphabet;
  return alphabet;
}

}  // namespace

namespace detail {

uint16_t compute_char_flags(char32_t c) {
  uint16_t flags = 0;
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  switch (category) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      flags |= kLetter | kWord;
      break;
    case UTF8PROC_CATEGORY_MN:
      flags |= kNonspacing | kMark | kWord;
      break;
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      flags |= kMark | kWord;
      break;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
      flags |= kNumber | kNumeric | kWord;
      break;
    case UTF8PROC_CATEGORY_NO:
      flags |= kNumber | kNumeric;
      break;
    case UTF8PROC_CATEGORY_PC:
      flags |= kPunctuation | kWord;
      break;
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
      flags |= kPunctuation;
      break;
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CO:
      flags |= kOther;
      break;
    default:
      break;
  }
  if (c < 0x80 &&
      ((c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126)))
    flags |= kPunctuation;
  if (has_white_space(c)) flags |= kWhitespace;
  if (is_chinese(c)) flags |= kChinese;
  if (c == 0x200C || c == 0x200D || is_other_alphabetic(c)) flags |= kWord;
  return c < 0x80 ? flags : with_differences(c, flags);
}

const uint16_t* const kCharFlags = build_table();

}  // namespace detail

bool is_not_decomposed(char32_t c) {
  return c >= kNotDecomposed[0].first && find_range(kNotDecomposed, c) != nullptr;
}
bool is_late_mark(char32_t c) { return find_range(kLacksMark, c) != nullptr; }

int to_lower(char32_t c, char32_t out[2]) {
  if (c < 0x80) {
    out[0] = c >= 'A' && c <= 'Z' ? c + 32 : c;
    return 1;
  }
  if (c == 0x130) {
    out[0] = 'i';
    out[1] = 0x307;
    return 2;
  }
  out[0] = static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
  if (out[0] == c && c >= kLowerCase[0].first)
    if (const LowerCase* run = find_range(kLowerCase, c))
      out[0] = static_cast<char32_t>(static_cast<int32_t>(c) + run->distance);
  return 1;
}

size_t count_chars(std::string_view text) {
  size_t n = 0;
  for (char c : text) n += !is_continuation(c);
  return n;
}

char32_t byte_to_char(uint8_t byte) { return byte_alphabet().to_char[byte]; }
int char_to_byte(char32_t c) { return c < 324 ? byte_alphabet().to_byte[c] : -1; }

std::string lower_case(std::string_view text) {
  std::string out;
  const std::string valid = utf8::replace_invalid(text);
  for (size_t i = 0; i < valid.size();) {
    char32_t lower[2];
    const int n = to_lower(next_char(valid, i), lower);
    for (int k = 0; k < n; ++k) utf8::append(out, lower[k]);
  }
  return out;
}

}  // namespace graft::text
