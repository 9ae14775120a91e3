// Which tokens of one or two sequences stay, and the windows that overflow.
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

// `sizes`: tokens without special ones (second -1: no pair). `num_special`: special tokens that will be
// added.
Windows truncate(int32_t first_size, int32_t second_size, int32_t num_special, const EncodeOptions& options,
                 bool left);

}  // namespace graft::text
