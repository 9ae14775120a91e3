#include "transfer/words.h"

#include <cstring>

#include "base/utf8.h"
#include "text/unicode.h"

namespace graft::transfer {
namespace {

constexpr uint64_t kStart = 0x9e3779b97f4a7c15ULL;

bool is_ascii_word(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// From the first CJK radical on, without Hangul: scripts that put no spaces between words, each character of
// which is a word here.
bool stands_alone(char32_t c) {
  return c >= 0x2E80 && !(c >= 0xAC00 && c <= 0xD7FF) && !(c >= 0xFE00 && c <= 0xFFEF);
}

// General punctuation, CJK punctuation, and the signs of Latin-1.
bool is_mark(char32_t c) {
  return (c >= 0x80 && c <= 0xBF && c != 0xAA && c != 0xB5 && c != 0xBA) || (c >= 0x2000 && c <= 0x206F) ||
         (c >= 0x3000 && c <= 0x303F) || (c >= 0xFF00 && c <= 0xFF0F) || utf8::is_space(c);
}

}  // namespace

void word_hashes(std::string_view text, std::vector<uint64_t>& out) {
  out.clear();
  uint64_t hash = kStart;
  bool inside = false;
  const auto end_word = [&] {
    if (inside) out.push_back(mixed(hash));
    hash = kStart;
    inside = false;
  };
  const auto add = [&](char32_t c) {
    hash = (hash ^ c) * 0x100000001b3ULL;
    inside = true;
  };
  for (size_t pos = 0; pos < text.size();) {
    const auto byte = static_cast<unsigned char>(text[pos]);
    if (byte < 0x80) {
      ++pos;
      if (!is_ascii_word(byte))
        end_word();
      else
        add(byte >= 'A' && byte <= 'Z' ? byte + 32u : byte);
      continue;
    }
    char32_t c = 0;
    const int n = utf8::decode(text, pos, c);
    pos += n > 0 ? static_cast<size_t>(n) : 1;
    if (n == 0 || is_mark(c)) {
      end_word();
    } else if (stands_alone(c)) {
      end_word();
      add(c);
      end_word();
    } else {
      char32_t lower[2] = {c, 0};
      const int count = text::to_lower(c, lower);
      for (int i = 0; i < count; ++i) add(lower[i]);
    }
  }
  end_word();
}

uint64_t hash_of_words(const std::vector<uint64_t>& words, size_t begin, size_t n) {
  uint64_t hash = kStart + n;
  for (size_t i = begin; i < begin + n; ++i) hash = mixed(hash ^ words[i]);
  return hash;
}

uint64_t hash_of_text(std::string_view text, uint64_t seed) {
  uint64_t hash = mixed(seed ^ kStart) + text.size();
  size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    uint64_t eight = 0;
    std::memcpy(&eight, text.data() + at, 8);
    hash = mixed(hash ^ eight);
  }
  uint64_t rest = 0;
  std::memcpy(&rest, text.data() + at, text.size() - at);
  return mixed(hash ^ rest);
}

}  // namespace graft::transfer
