// A tokenizer small enough to reckon with: words at spaces, a token for every two bytes of a word.
#pragma once
#include <algorithm>
#include <string_view>
#include <vector>

#include "graft/tokenizer.h"

namespace graft::test {

// 0 [PAD], 1 [UNK], 2 [CLS], 3 [SEP], 4 [MASK], then 1000 ids of two bytes.
constexpr int32_t kFakeVocabSize = 1005;

inline std::vector<uint8_t> fake_special_ids() {
  std::vector<uint8_t> special(kFakeVocabSize, 0);
  std::fill(special.begin(), special.begin() + 5, uint8_t{1});
  return special;
}

inline int32_t fake_id(std::string_view piece) {
  int32_t id = 0;
  for (const char c : piece) id = (id * 31 + static_cast<unsigned char>(c)) % 1000;
  return 5 + id;
}

inline Encoding fake_encode(std::string_view text, const EncodeOptions& options) {
  Encoding out;
  const auto add = [&](int32_t id, int32_t word) {
    out.input_ids.push_back(id), out.word_ids.push_back(word);
  };
  add(2, -1);
  int32_t word = 0;
  for (size_t pos = 0; pos < text.size(); ++word) {
    const size_t end = std::min(text.find(' ', pos), text.size());
    for (; pos < end; pos += 2) add(fake_id(text.substr(pos, std::min<size_t>(2, end - pos))), word);
    pos = end + 1;
  }
  if (options.truncation != Truncation::none && options.max_length > 0) {
    const auto room = static_cast<size_t>(options.max_length - 1);
    if (out.input_ids.size() > room) {
      out.num_truncated = static_cast<int32_t>(out.input_ids.size() - room);
      out.input_ids.resize(room);
      out.word_ids.resize(room);
    }
  }
  add(3, -1);
  if (options.ids_only) out.word_ids.clear();
  return out;
}

}  // namespace graft::test
