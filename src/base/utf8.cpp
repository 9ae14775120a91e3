#include "base/utf8.h"

namespace graft::utf8 {
namespace {

// Shape of the sequence that starts with `lead`: its length and the range of its second byte (Unicode table
// 3-7).
struct Lead {
  int length;
  unsigned char low, high;
};

Lead classify(unsigned char lead) {
  if (lead < 0x80) return {1, 0, 0};
  if (lead < 0xC2) return {0, 0, 0};
  if (lead < 0xE0) return {2, 0x80, 0xBF};
  if (lead == 0xE0) return {3, 0xA0, 0xBF};
  if (lead == 0xED) return {3, 0x80, 0x9F};
  if (lead < 0xF0) return {3, 0x80, 0xBF};
  if (lead == 0xF0) return {4, 0x90, 0xBF};
  if (lead < 0xF4) return {4, 0x80, 0xBF};
  if (lead == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

// Length of the longest prefix at `pos` of a valid sequence; `valid` is true if the sequence is complete.
int scan(std::string_view text, size_t pos, bool& valid) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const Lead lead = classify(byte(pos));
  valid = false;
  if (lead.length == 0) return 1;
  for (int i = 1; i < lead.length; ++i) {
    if (pos + i >= text.size()) return i;
    const unsigned char b = byte(pos + i);
    const bool fits = i == 1 ? b >= lead.low && b <= lead.high : (b & 0xC0) == 0x80;
    if (!fits) return i;
  }
  valid = true;
  return lead.length;
}

}  // namespace

int decode(std::string_view text, size_t pos, char32_t& code_point) {
  bool valid = false;
  const int n = scan(text, pos, valid);
  if (!valid) return 0;
  const auto byte = [&](int i) { return static_cast<char32_t>(static_cast<unsigned char>(text[pos + i])); };
  switch (n) {
    case 1:
      code_point = byte(0);
      break;
    case 2:
      code_point = (byte(0) & 0x1F) << 6 | (byte(1) & 0x3F);
      break;
    case 3:
      code_point = (byte(0) & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
      break;
    default:
      code_point = (byte(0) & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
  }
  return n;
}

void append(std::string& out, char32_t c) {
  const auto put = [&](char32_t b) { out.push_back(static_cast<char>(b)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6), put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18), put(0x80 | (c >> 12 & 0x3F)), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
  }
}

size_t find_invalid(std::string_view text) {
  for (size_t pos = 0; pos < text.size();) {
    if (static_cast<unsigned char>(text[pos]) < 0x80) {
      ++pos;
      continue;
    }
    bool valid = false;
    const int n = scan(text, pos, valid);
    if (!valid) return pos;
    pos += static_cast<size_t>(n);
  }
  return std::string_view::npos;
}

std::string replace_invalid(std::string_view text, size_t* count) {
  std::string out;
  out.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) {
    bool valid = false;
    const int n = scan(text, pos, valid);
    if (valid) {
      out.append(text.substr(pos, static_cast<size_t>(n)));
    } else {
      out.append("\xEF\xBF\xBD");
      if (count) ++*count;
    }
    pos += static_cast<size_t>(n);
  }
  return out;
}

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

size_t length(std::string_view text) {
  size_t n = 0;
  for (const char c : text) n += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return n;
}

}  // namespace graft::utf8
