#include "text/truncation.h"

#include <algorithm>

#include "base/error.h"

namespace graft::text {
namespace {

// Windows of `length` tokens that overlap by `stride`, starting at the end that truncation keeps.
std::vector<Span> cut(int32_t size, int32_t length, const EncodeOptions& options, bool left) {
  if (length >= size) return {{0, size}};
  if (length <= 0)
    return options.return_overflowing ? std::vector<Span>{{0, 0}, {0, size}} : std::vector<Span>{{0, 0}};
  if (!options.return_overflowing) return {left ? Span{size - length, size} : Span{0, length}};
  if (options.stride >= length)
    fail_with("use a smaller stride or a larger max_length",
              "stride {} must be smaller than the {} tokens of this text in a window", options.stride,
              length);
  std::vector<Span> windows;
  for (int32_t step = 0;; step += length - options.stride) {
    const int32_t edge = left ? std::max(0, size - step - length) : std::min(size, step + length);
    windows.push_back(left ? Span{edge, size - step} : Span{step, edge});
    if (edge == (left ? 0 : size)) return windows;
  }
}

// The lengths after truncation: tokens are removed from the longer sequence first.
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

// Windows repeat tokens: `stride` tokens of their neighbour, and the text that is not cut. Where both texts
// are cut, each window of the first is combined with each window of the second. At worst the total is
// quadratic in the size of the input.
constexpr double kMaxWindowTokens = 1 << 21;  // allowed for every input; about 100 MB of encodings
constexpr double kMaxRepetition = 16;         // allowed for longer inputs

double tokens_of(const std::vector<Span>& windows) {
  double tokens = 0;
  for (const Span& window : windows) tokens += window.end - window.begin;
  return tokens;
}

void check_window_size(const Windows& windows, double num_tokens, int32_t num_special,
                       const EncodeOptions& options) {
  const auto first = static_cast<double>(windows.first.size()),
             second = std::max(1.0, static_cast<double>(windows.second.size()));
  const double total =
      tokens_of(windows.first) * second + tokens_of(windows.second) * first + first * second * num_special;
  const double limit = std::max(kMaxWindowTokens, kMaxRepetition * num_tokens);
  if (total <= limit) return;
  fail_with(first > 1 && second > 1
                ? "use truncation only_first or only_second, a larger max_length, or no return_overflowing"
                : "use a smaller stride, another max_length, or no return_overflowing",
            "{} tokens cut into windows of max_length {} with stride {} give {} windows with {} tokens, more "
            "than the "
            "limit of {}",
            num_tokens, options.max_length, options.stride, first * second, total, limit);
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
  if (options.return_overflowing)
    check_window_size(windows, static_cast<double>(first_size) + std::max(second_size, 0), num_special,
                      options);
  return windows;
}

}  // namespace graft::text
