#include "text/truncation.h"

#include <algorithm>

#include "base/error.h"

namespace graft::text {
namespace {

// Windows of `length` tokens that overlap by `stride`, from the kept end on.
std::vector<Span> cut(int32_t size, int32_t length, const EncodeOptions& options, bool left) {
  if (length >= size) return {{0, size}};
  if (length <= 0)
    return options.return_overflowing ? std::vector<Span>{{0, 0}, {0, size}} : std::vector<Span>{{0, 0}};
  if (!options.return_overflowing) return {left ? Span{size - length, size} : Span{0, length}};
  if (options.stride >= length)
    fail_with("use a smaller stride or a larger max_length",
              "stride {} must be smaller than the {} tokens that a window has for this text", options.stride,
              length);
  std::vector<Span> windows;
  for (int32_t step = 0;; step += length - options.stride) {
    const int32_t edge = left ? std::max(0, size - step - length) : std::min(size, step + length);
    windows.push_back(left ? Span{edge, size - step} : Span{step, edge});
    if (edge == (left ? 0 : size)) return windows;
  }
}

// Lengths that keep the longer sequence no longer than needed.
void longest_first(int32_t room, int32_t& first, int32_t& second) {
  int32_t n1 = std::min(first, second), n2 = std::max(first, second);
  n2 = n1 > room ? n1 : std::max(n1, room - n1);
  if (n1 + n2 > room) {
    n1 = room / 2;
    n2 = n1 + room % 2;
  }
  if (first > second) std::swap(n1, n2);
  first = std::min(first, n1);
  second = std::min(second, n2);
}

}  // namespace

Windows truncate(int32_t first_size, int32_t second_size, int32_t num_special, const EncodeOptions& options,
                 bool left) {
  const bool is_pair = second_size >= 0;
  Windows windows;
  int32_t first = first_size, second = is_pair ? second_size : 0;
  if (options.truncation != Truncation::none && options.max_length > 0) {
    if (options.stride < 0) fail("stride must not be negative, but is {}", options.stride);
    const int32_t room = options.max_length - num_special;
    if (room < 0)
      fail("max_length {} is less than the {} special tokens of this tokenizer", options.max_length,
           num_special);
    const int32_t excess = first + second - room;
    if (excess > 0) {
      if (options.truncation == Truncation::longest_first) {
        if (is_pair)
          longest_first(room, first, second);
        else
          first = room;
      } else {
        const bool only_first = options.truncation == Truncation::only_first;
        if (!only_first && !is_pair) fail("truncation only_second needs a second text");
        int32_t& target = only_first ? first : second;
        if (target <= excess && target > 0)
          fail_with("use truncation longest_first, or a larger max_length",
                    "{} tokens are too many, but the {} text, which alone may be cut, has only {}", excess,
                    only_first ? "first" : "second", target);
        target -= std::min(target, excess);
      }
    }
  }
  windows.first = cut(first_size, first, options, left);
  if (is_pair) windows.second = cut(second_size, second, options, left);
  return windows;
}

}  // namespace graft::text
