// A text while it is normalized. Each byte has the range of bytes of the original text that it comes from.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/huge_array.h"

namespace graft::text {

// Half-open range of bytes.
struct Span {
  int32_t begin, end;
  bool operator==(const Span& other) const { return begin == other.begin && end == other.end; }
};

// One character of a rewritten text. `change`: 0 replaces one character of the old text, 1 is inserted after
// the previous one (and shares its origin), -n replaces n + 1 characters.
struct CharChange {
  char32_t c;
  int32_t change;
};

struct AlignedText {
  std::string text;       // valid UTF-8
  HugeArray<Span> align;  // one entry per byte: its range in the original text

  // Sets the text to `original`. `base`, its position in a longer text, is added to every alignment.
  void assign(std::string_view original, int32_t base);

  // Rewrites [begin, end) with `changes`; the first `initial` characters of the range are removed, and no
  // character takes over their origin.
  void transform(size_t begin, size_t end, const HugeArray<CharChange>& changes, size_t initial = 0);
  void transform(const HugeArray<CharChange>& changes, size_t initial = 0) {
    transform(0, text.size(), changes, initial);
  }
  // Keeps the characters for which `keep` holds.
  template <class Keep>
  void filter(Keep keep);
  // Replaces each character by one other.
  template <class Map>
  void map(Map map);
  // Puts `prefix` in front of [begin, ...); it shares the origin of the first character. Nothing happens at
  // the end.
  void prepend(size_t begin, std::string_view prefix);
  // Original range of the bytes [begin, end) of `text`.
  Span original(size_t begin, size_t end) const {
    if (begin >= end) return {static_cast<int32_t>(begin), static_cast<int32_t>(end)};
    return {align[begin].begin, align[end - 1].end};
  }
};

}  // namespace graft::text

#include "text/aligned_text_inl.h"
