#include "data/span_mask.h"

#include <algorithm>
#include <cmath>

namespace graft::data {
namespace {

// A length in words from 1 to span_upper, of a geometric distribution that ends there.
int64_t draw_length(PhiloxStream& draw, const SpanMaskOptions& options) {
  const double q = 1 - options.geometric_p, whole = 1 - std::pow(q, static_cast<double>(options.span_upper));
  const double u = draw.uniform() * whole;  // the first n with 1 - q^n > u
  const double n = std::floor(std::log1p(-u) / std::log(q)) + 1;
  return std::clamp<int64_t>(static_cast<int64_t>(n), 1, options.span_upper);
}

}  // namespace

std::vector<int32_t> choose_spans(PhiloxStream draw, const std::vector<uint8_t>& maskable,
                                  const uint8_t* word_starts, double share, const SpanMaskOptions& options) {
  const auto length = static_cast<int32_t>(maskable.size());
  const auto at = [](int32_t i) { return static_cast<size_t>(i); };
  const auto continues = [&](int32_t i) { return i < length && maskable[at(i)] && !word_starts[i]; };
  std::vector<int32_t> span_of(maskable.size(), -1), candidates;
  for (int32_t i = 0; i < length; ++i)
    if (maskable[at(i)]) candidates.push_back(i);
  // So many tokens on average: a text of five tokens hides one in three epochs of four.
  auto left =
      static_cast<int64_t>(std::floor(share * static_cast<double>(candidates.size()) + draw.uniform()));
  for (int32_t span = 0; left > 0;) {
    int32_t begin = candidates[draw.below(candidates.size())];
    if (span_of[at(begin)] >= 0) continue;
    while (begin > 0 && maskable[at(begin - 1)] && !word_starts[begin]) --begin;
    const int64_t words = draw_length(draw, options);
    bool hides = false;
    for (int64_t n = 0; n < words && begin < length && maskable[at(begin)] && left > 0; ++n) {
      int32_t end = begin + 1;
      while (continues(end)) ++end;
      if (span_of[at(begin)] < 0) {
        const int64_t size = end - begin;
        const bool fits =
            size <= left || draw.uniform() * static_cast<double>(size) < static_cast<double>(left);
        if (fits) std::fill(span_of.begin() + begin, span_of.begin() + end, span);
        hides |= fits;
        left = size <= left ? left - size : 0;
      }
      begin = end;
    }
    span += hides ? 1 : 0;
  }
  return span_of;
}

}  // namespace graft::data
