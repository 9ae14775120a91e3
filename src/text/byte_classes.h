// What kinds of bytes a text has, sixty-four at a time.
#pragma once
#include <cstddef>
#include <cstdint>

namespace graft::text {

// Bit i says something of byte i of sixty-four.
struct ByteClasses {
  uint64_t letter, digit;  // of ASCII
  uint64_t blank;          // ' '
  uint64_t space;          // ' ' and the controls 9 to 13
  uint64_t bert_space;     // ' ', tab, newline, carriage return
  uint64_t punctuation;    // ASCII that is visible and neither letter nor digit
  uint64_t high;           // beyond ASCII
  uint64_t ideographic;    // 0xE3 and more: BERT's ideographs begin with such
};

// Of `num_blocks` times sixty-four bytes.
void classify_bytes(const char* bytes, size_t num_blocks, ByteClasses* out);

}  // namespace graft::text
