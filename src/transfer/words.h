// The words of a text as hashes, for comparing texts by what they say: case, punctuation and spacing do not
// count.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace graft::transfer {

// A word is a run of letters and digits in lower case; each character of a script without spaces (Chinese,
// Japanese, Korean, ...) is a word. `out` is cleared.
void word_hashes(std::string_view text, std::vector<uint64_t>& out);

// Hash of words[begin .. begin + n).
uint64_t hash_of_words(const std::vector<uint64_t>& words, size_t begin, size_t n);

// Of all bytes, mixed with `seed`: decides by content, wherever the text lies.
uint64_t hash_of_text(std::string_view text, uint64_t seed);

// The finalizer of MurmurHash3: each bit of x moves each bit of the result.
inline uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdULL;
  x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53ULL;
  return x ^ (x >> 33);
}

}  // namespace graft::transfer
