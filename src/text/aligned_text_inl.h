// Template members of AlignedText.
#pragma once
#include "text/aligned_text.h"
#include "text/unicode.h"

namespace graft::text {

template <class Keep>
void AlignedText::filter(Keep keep) {
  size_t pos = 0;
  while (pos < text.size()) {  // most texts keep everything
    const size_t at = pos;
    if (!keep(next_char(text, pos))) {
      pos = at;
      break;
    }
  }
  if (pos == text.size()) return;
  HugeArray<CharChange> changes;
  changes.reserve(text.size());
  size_t initial = 0;
  for (pos = 0; pos < text.size();) {
    const char32_t c = next_char(text, pos);
    if (keep(c))
      changes.push_back({c, 0});
    else if (changes.empty())
      ++initial;
    else
      --changes.back().change;
  }
  transform(changes, initial);
}

template <class Map>
void AlignedText::map(Map map) {
  bool same = true;
  for (size_t pos = 0; same && pos < text.size();) {
    const char32_t c = next_char(text, pos);
    same = map(c) == c;
  }
  if (same) return;
  HugeArray<CharChange> changes;
  changes.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) changes.push_back({map(next_char(text, pos)), 0});
  transform(changes);
}

}  // namespace graft::text
