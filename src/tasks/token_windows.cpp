#include "tasks/token_windows.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace graft::tasks {

WindowedText::WindowedText(const Encoding& encoding, int64_t max_length, int64_t stride)
    : encoding_(encoding) {
  const auto& special = encoding.special_tokens_mask;
  const auto total = static_cast<int32_t>(special.size());
  while (prefix_ < total && special[static_cast<size_t>(prefix_)]) ++prefix_;
  int32_t suffix = 0;
  while (prefix_ + suffix < total && special[static_cast<size_t>(total - 1 - suffix)]) ++suffix;
  num_tokens_ = total - prefix_ - suffix;
  const int64_t room = max_length > 0 ? max_length - prefix_ - suffix : num_tokens_;
  for (int64_t begin = 0;; begin += room - stride) {
    const int64_t end = std::min<int64_t>(begin + room, num_tokens_);
    windows_.push_back({static_cast<int32_t>(begin), static_cast<int32_t>(end)});
    if (end == num_tokens_) break;
  }
}

void WindowedText::append_window(size_t window, std::vector<int32_t>& ids,
                                 std::vector<int32_t>& types) const {
  const auto append = [&](int32_t begin, int32_t end) {
    for (int32_t i = begin; i < end; ++i) {
      const auto at = static_cast<size_t>(i);
      ids.push_back(encoding_.input_ids[at]);
      types.push_back(encoding_.token_type_ids.empty() ? 0 : encoding_.token_type_ids[at]);
    }
  };
  const auto [begin, end] = windows_[window];
  append(0, prefix_);
  append(prefix_ + begin, prefix_ + end);
  append(prefix_ + num_tokens_, static_cast<int32_t>(encoding_.input_ids.size()));
}

size_t WindowedText::best_window(int32_t first, int32_t last) const {
  constexpr int32_t kEndless = std::numeric_limits<int32_t>::max();
  size_t best = windows_.size();
  int32_t most = 0;
  for (size_t w = 0; w < windows_.size(); ++w) {
    const auto [begin, end] = windows_[w];
    if (first < begin || first >= end) continue;
    const int32_t left = begin == 0 ? kEndless : first - begin;
    const int32_t right = end == num_tokens_ ? kEndless : end - 1 - last;
    if (best < windows_.size() && std::min(left, right) <= most) continue;
    best = w;
    most = std::min(left, right);
  }
  return best;
}

int64_t window_stride(std::optional<int64_t> asked, int64_t max_length, int64_t special_tokens) {
  constexpr int64_t kUsual = 128;
  if (max_length <= 0) return 0;  // one window
  const int64_t room = max_length - special_tokens;
  if (!asked) return std::min(kUsual, room / 2);
  if (*asked >= room)
    throw UsageError(fmt::format("--stride {} leaves no new token in windows of {} (--max_seq_length {}, {} "
                                 "special tokens)",
                                 *asked, room, max_length, special_tokens),
                     fmt::format("use --stride {} or less", std::max<int64_t>(0, room - 1)));
  return *asked;
}

}  // namespace graft::tasks
