#include "text/chunk_cutter.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>

#include "text/byte_classes.h"
#include "text/pattern.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

// True if a grapheme cluster or a normal form may join the character before `pos` with the one at `pos`.
bool may_join(std::string_view text, size_t pos) {
  const char32_t c = next_char(text, pos);
  const auto bound = utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->boundclass;
  return bound == UTF8PROC_BOUNDCLASS_EXTEND || bound == UTF8PROC_BOUNDCLASS_ZWJ ||
         bound == UTF8PROC_BOUNDCLASS_SPACINGMARK || (char_flags(c) & kMark);
}

// True if the character before `pos` joins the next one (Unicode: Prepend). All such characters have one of
// these lead bytes.
bool ends_with_prepend(std::string_view text, size_t pos) {
  size_t start = pos - 1;
  while (start > 0 && is_continuation(text[start])) --start;
  const uint8_t lead = byte_at(text, start);
  if (lead != 0xD8 && lead != 0xDB && lead != 0xDC && lead != 0xE0 && lead != 0xF0) return false;
  const char32_t c = next_char(text, start);
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->boundclass == UTF8PROC_BOUNDCLASS_PREPEND;
}

// Length of GPT-2's contraction at text[pos], an apostrophe; 0: none.
size_t contraction_size(std::string_view text, size_t pos) {
  const char a = pos + 1 < text.size() ? text[pos + 1] : ' ', b = pos + 2 < text.size() ? text[pos + 2] : ' ';
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  return ((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

// Shifts bits to the next position; `carry` is the last bit of the previous word.
uint64_t shift_in(uint64_t bits, uint64_t& carry) {
  const uint64_t shifted = bits << 1 | carry;
  carry = bits >> 63;
  return shifted;
}

}  // namespace

void ChunkCutter::start(std::string_view text, Rule rule, bool isolates_chinese) {
  text_ = text;
  words_ = text.size() / 64 + 1;
  word_ = 0;
  has_open_ = false;
  bounds_.resize(words_ + 1);
  gaps_.resize(words_);
  odd_.resize(words_);
  bounds_[words_] = 0;
  switch (rule) {
    case Rule::bert:
      return cut_bert(isolates_chinese);
    case Rule::gpt2:
      return cut_gpt2();
    case Rule::spaces:
      return cut_spaces();
  }
}

namespace {

// Writes base + the positions of the bits, eight at a time, because a branch per bit is mispredicted too
// often. Up to seven entries after the last one are overwritten.
size_t write_positions(uint64_t bits, uint32_t base, uint32_t* out) {
  const auto count = static_cast<size_t>(__builtin_popcountll(bits));
  for (size_t i = 0; i < count; i += 8)
#pragma GCC unroll 8
    for (size_t k = 0; k < 8; ++k) {
      out[i + k] = base + static_cast<uint32_t>(__builtin_ctzll(bits | uint64_t{1} << 63));
      bits &= bits - 1;
    }
  return count;
}

}  // namespace

size_t ChunkCutter::next(uint32_t* begins, uint32_t* ends) {
  size_t num_begins = has_open_, num_ends = 0;
  begins[0] = open_;
  for (; num_ends < kBatch && word_ < words_; ++word_) {
    const auto base = static_cast<uint32_t>(64 * word_);
    const uint64_t first = bounds_[word_] & ~gaps_[word_];
    const uint64_t last = (bounds_[word_] >> 1 | bounds_[word_ + 1] << 63) & ~gaps_[word_];
    num_begins += write_positions(first, base, begins + num_begins);
    num_ends += write_positions(last, base + 1, ends + num_ends);
  }
  has_open_ = num_begins > num_ends;
  open_ = begins[num_ends];
  return num_ends;
}

// Calls see(w, classes) for every word. The text is padded with spaces.
template <class See>
void ChunkCutter::for_each_word(See see) const {
  constexpr size_t kGroup = 8;
  ByteClasses classes[kGroup];
  for (size_t w = 0; w + 1 < words_; w += kGroup) {
    const size_t n = std::min(kGroup, words_ - 1 - w);
    classify_bytes(text_.data() + 64 * w, n, classes);
    for (size_t i = 0; i < n; ++i) see(w + i, classes[i]);
  }
  const size_t begin = 64 * (words_ - 1);
  char padded[64];
  std::memset(padded, ' ', sizeof padded);
  if (begin < text_.size()) std::memcpy(padded, text_.data() + begin, text_.size() - begin);
  classify_bytes(padded, 1, classes);
  see(words_ - 1, classes[0]);
}

void ChunkCutter::clear_bounds(size_t begin, size_t end) {
  for (; begin < end && begin % 64 != 0; ++begin) clear_bound(begin);
  for (; begin + 64 <= end; begin += 64) bounds_[begin / 64] = 0;
  for (; begin < end; ++begin) clear_bound(begin);
}

// The last bound at or before i; position 0 is always a bound.
size_t ChunkCutter::last_bound(size_t i) const {
  size_t w = i / 64;
  uint64_t bits = bounds_[w] << (63 - i % 64);
  if (bits) return i - static_cast<size_t>(__builtin_clzll(bits));
  while (w > 0 && bounds_[--w] == 0) {
  }
  return 64 * w + 63 - static_cast<size_t>(__builtin_clzll(bounds_[w]));
}

// The first bit at or after i; `none` if there is none.
size_t ChunkCutter::next_bit(const std::vector<uint64_t>& bits, size_t i, size_t none) {
  size_t w = i / 64;
  if (w >= bits.size()) return none;
  uint64_t rest = bits[w] >> i % 64;
  if (rest) return i + static_cast<size_t>(__builtin_ctzll(rest));
  while (++w < bits.size())
    if (bits[w]) return 64 * w + static_cast<size_t>(__builtin_ctzll(bits[w]));
  return none;
}

void ChunkCutter::cut_bert(bool isolates_chinese) {
  uint64_t carry = 1, any_odd = 0;
  for_each_word([&](size_t w, const ByteClasses& c) {
    odd_[w] = c.ideographic;
    any_odd |= odd_[w];
    const uint64_t alone = c.bert_space | c.punctuation;
    bounds_[w] = alone | shift_in(alone, carry);
    gaps_[w] = c.bert_space;
  });
  if (any_odd && isolates_chinese) isolate_ideographs();
}

void ChunkCutter::isolate_ideographs() {
  for (size_t w = 0; w < words_; ++w)
    for (uint64_t bits = odd_[w]; bits; bits &= bits - 1) {
      const size_t begin = 64 * w + static_cast<size_t>(__builtin_ctzll(bits));
      size_t end = begin;
      if (!(char_flags(next_char(text_, end)) & kChinese)) continue;
      set_bound(begin);
      set_bound(end);
    }
}

// A word begins where the class of the characters changes. The last white space before another class begins a
// word as well, and this word continues with that class if the white space is a space.
void ChunkCutter::cut_gpt2() {
  uint64_t letters = 0, digits = 0, spaces = 0, blanks = 0, highs = 0;  // of the previous word
  uint64_t any_high = 0;
  for_each_word([&](size_t w, const ByteClasses& c) {
    const uint64_t space_before = shift_in(c.space, spaces);
    const uint64_t change = (c.letter ^ shift_in(c.letter, letters)) | (c.digit ^ shift_in(c.digit, digits)) |
                            (c.space ^ space_before) | (c.high ^ shift_in(c.high, highs));
    const uint64_t after_space = ~c.space & space_before, after_blank = ~c.space & shift_in(c.blank, blanks);
    bounds_[w] = (change & ~after_blank) | after_space >> 1;
    if (w > 0) bounds_[w - 1] |= after_space << 63;
    gaps_[w] = 0;
    odd_[w] = c.high;
    any_high |= c.high;
  });
  const size_t end = text_.size();
  gaps_[words_ - 1] = ~uint64_t{0} << end % 64;
  set_bound(0);
  set_bound(end);
  cut_contractions();
  if (any_high) cut_gpt2_beyond_ascii();
}

void ChunkCutter::cut_contractions() {
  for (size_t pos = text_.find('\''); pos < text_.size(); pos = text_.find('\'', pos + 1)) {
    if (!is_bound(pos) || (pos > 0 && byte_at(text_, pos - 1) >= 0x80)) continue;
    const size_t size = contraction_size(text_, pos);
    if (size == 0) continue;
    clear_bounds(pos + 1, pos + size);
    set_bound(pos + size);
  }
}

// Bounds are valid if no byte beyond ASCII is in the word or within two characters after it. Other words are
// cut one by one.
void ChunkCutter::cut_gpt2_beyond_ascii() {
  const size_t size = text_.size();
  size_t pos = 0;
  for (size_t high = next_bit(odd_, 0, size); high < size; high = next_bit(odd_, std::max(pos, high), size)) {
    pos = high == 0 ? 0 : last_bound(high - 1);
    if (pos > 0 && pos + 1 == high && (text_[pos] == ' ' || (text_[pos] >= 9 && text_[pos] <= 13)))
      pos = last_bound(pos - 1);  // pos may be inside white space
    for (;;) {
      const size_t end = gpt2_word_end(text_, pos, size);
      clear_bounds(pos + 1, end);
      set_bound(end);
      pos = end;
      if (pos >= size) return;
      high = next_bit(odd_, pos, size);
      if (high >= size && text_[pos] != '\'') return;
      if (text_[pos] != '\'' && high > next_bit(bounds_, pos + 1, size) + 1) break;
    }
  }
}

void ChunkCutter::cut_spaces() {
  uint64_t blanks = 0, any_high = 0;
  for_each_word([&](size_t w, const ByteClasses& c) {
    odd_[w] = c.high;
    any_high |= c.high;
    bounds_[w] = c.blank & ~shift_in(c.blank, blanks);
    gaps_[w] = 0;
  });
  const size_t end = text_.size();
  gaps_[words_ - 1] = ~uint64_t{0} << end % 64;
  set_bound(0);
  set_bound(end);
  if (any_high) join_clusters();
}

// Removes the bounds at spaces that join the character before or after them.
void ChunkCutter::join_clusters() {
  uint64_t high_before = 0;
  for (size_t w = 0; w < words_; ++w) {
    const uint64_t behind = shift_in(odd_[w], high_before);
    for (uint64_t bits = bounds_[w] & behind & ~gaps_[w]; bits; bits &= bits - 1) {
      const size_t pos = 64 * w + static_cast<size_t>(__builtin_ctzll(bits));
      if (ends_with_prepend(text_, pos)) clear_bound(pos);
    }
    for (uint64_t bits = odd_[w] & ~behind; bits; bits &= bits - 1) {
      const size_t pos = 64 * w + static_cast<size_t>(__builtin_ctzll(bits));
      if (pos == 0 || text_[pos - 1] != ' ' || !may_join(text_, pos)) continue;
      size_t start = pos - 1;
      while (start > 0 && text_[start - 1] == ' ') --start;
      if (start > 0) clear_bound(start);
    }
  }
}

}  // namespace graft::text
