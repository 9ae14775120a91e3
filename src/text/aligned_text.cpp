#include "text/aligned_text.h"

#include "base/utf8.h"

namespace graft::text {

void AlignedText::assign(std::string_view original, int32_t base) {
  text.assign(original);
  align.resize(original.size());
  for (size_t pos = 0; pos < original.size();) {
    const size_t end = pos + sequence_length(original[pos]);
    const Span span{base + static_cast<int32_t>(pos), base + static_cast<int32_t>(end)};
    for (; pos < end; ++pos) align[pos] = span;
  }
}

void AlignedText::transform(size_t begin, size_t end, const HugeArray<CharChange>& changes, size_t initial) {
  std::string new_text;
  HugeArray<Span> new_align;
  new_text.reserve(end - begin);
  new_align.reserve(end - begin);
  size_t pos = begin;  // the next unread character of the old text
  const auto skip = [&] {
    if (pos < end) pos += sequence_length(text[pos]);
  };
  for (size_t i = 0; i < initial; ++i) skip();
  for (const CharChange& change : changes) {
    Span span{0, 0};
    if (change.change > 0) {
      if (pos > 0) span = align[pos - 1];
    } else {
      if (pos < align.size()) span = align[pos];
      for (int32_t n = change.change; n <= 0; ++n) skip();
    }
    utf8::append(new_text, change.c);
    new_align.resize(new_text.size(), span);
  }
  if (begin == 0 && end == text.size()) {
    text = std::move(new_text);
    align = std::move(new_align);
    return;
  }
  text.replace(begin, end - begin, new_text);
  align.erase(align.begin() + begin, align.begin() + end);
  align.insert(align.begin() + begin, new_align.begin(), new_align.end());
}

void AlignedText::prepend(size_t begin, std::string_view prefix) {
  if (begin >= text.size()) return;
  const Span span = align[begin];
  text.insert(begin, prefix);
  align.insert(align.begin() + begin, prefix.size(), span);
}

}  // namespace graft::text
