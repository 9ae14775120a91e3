// A text on its way through the normalizers: each byte remembers the bytes of the original text it stands
// for.
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

// One character of a rewritten text. `change` says how it relates to the characters it comes from: 0 replaces
// one character, 1 is inserted behind the previous one (and shares its origin), -n replaces one and swallows
// n more.
struct CharChange {
  char32_t c;
  int32_t change;
};

struct AlignedText {
  std::string text;       // valid UTF-8
  HugeArray<Span> align;  // one entry a byte: the bytes of the original text

  // `original` as it is; `base` is added to every alignment (its position in a longer text).
  void assign(std::string_view original, int32_t base);

  // Rewrites [begin, end) with `changes`; the first `initial` characters of the range are dropped without
  // trace.
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
