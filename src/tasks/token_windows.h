// Long texts in windows of tokens that overlap, and the window that decides on each token.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "graft/tokenizer.h"

namespace graft::tasks {

// Tokens [begin, end) of a text, special tokens not counted.
struct TokenWindow {
  int32_t begin = 0, end = 0;
};

// A text as windows: each is the special tokens of the template around some of the text's tokens.
class WindowedText {
 public:
  // `encoding`: the whole text, not truncated, with special tokens. max_length counts them; 0 = no limit.
  // `stride`: tokens that two windows share.
  WindowedText(const Encoding& encoding, int64_t max_length, int64_t stride);

  int32_t num_tokens() const { return num_tokens_; }
  const std::vector<TokenWindow>& windows() const { return windows_; }
  // Ids and types of a window, with its special tokens.
  void append_window(size_t window, std::vector<int32_t>& ids, std::vector<int32_t>& types) const;
  // The position of token `token` of the text in a window that has it.
  int32_t position(size_t window, int32_t token) const { return prefix_ + token - windows_[window].begin; }
  // Index in the encoding of the text's token.
  size_t index(int32_t token) const { return static_cast<size_t>(prefix_ + token); }
  // The window that has the token `first` and the most context around the tokens first..last: the number of
  // tokens on the shorter side, where the end of the text counts as endless.
  size_t best_window(int32_t first, int32_t last) const;

 private:
  const Encoding& encoding_;
  int32_t prefix_ = 0, num_tokens_ = 0;
  std::vector<TokenWindow> windows_;
};

// The stride where none is given: 128 (run_qa's doc_stride), at most half of the tokens between the special
// ones. Throws UsageError for a given one that leaves a window no new token.
int64_t window_stride(std::optional<int64_t> asked, int64_t max_length, int64_t special_tokens);

}  // namespace graft::tasks
