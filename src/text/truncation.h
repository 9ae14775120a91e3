// Truncation of one or two sequences of tokens, and their overflowing windows.
#pragma once
#include <vector>

#include "graft/tokenizer.h"
#include "text/aligned_text.h"

namespace graft::text {

// Windows of the first and the second sequence: ranges of tokens. The first window of each is the main
// encoding.
struct Windows {
  std::vector<Span> first, second;
};

// `first_size`, `second_size`: numbers of tokens without special tokens (second -1: no pair). `num_special`:
// number of special tokens that are added to a window.
Windows truncate(int32_t first_size, int32_t second_size, int32_t num_special, const EncodeOptions& options,
                 bool left);

}  // namespace graft::text
