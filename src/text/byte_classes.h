// Classes of the bytes of a text, 64 bytes at a time.
#pragma once
#include <cstddef>
#include <cstdint>

namespace graft::text {

// Bit i describes byte i of a block of 64.
struct ByteClasses {
  uint64_t letter, digit;  // of ASCII
  uint64_t blank;          // ' '
  uint64_t space;          // ' ' and the controls 9 to 13
  uint64_t bert_space;     // ' ', tab, newline, carriage return
  uint64_t punctuation;    // visible ASCII except letters and digits
  uint64_t high;           // not ASCII
  uint64_t ideographic;    // 0xE3 and above: first bytes of BERT's ideographs
};

// Classes of `num_blocks` blocks of 64 bytes.
void classify_bytes(const char* bytes, size_t num_blocks, ByteClasses* out);

}  // namespace graft::text
