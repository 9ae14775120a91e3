#include "tasks/drawn_tokens.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/philox.h"
#include "base/threads.h"

namespace graft::tasks {

namespace {

constexpr int64_t kChunk = 512;  // columns whose sum is kept, so that one chunk alone is computed twice

// exp(x - largest) of columns [begin, end), in order.
double sum_of_exp(const float* x, int64_t begin, int64_t end, float largest) {
  double sum = 0;
  for (int64_t c = begin; c < end; ++c) sum += static_cast<double>(std::exp(x[c] - largest));
  return sum;
}

// The column in which a share `u` of the row's probability is reached; the last one for rows that are not
// finite, whose loss is not finite either.
int32_t column_at(const float* x, int64_t cols, double u, std::vector<double>& sums) {
  const float largest = *std::max_element(x, x + cols);
  sums.clear();
  double total = 0;
  for (int64_t begin = 0; begin < cols; begin += kChunk) {
    sums.push_back(sum_of_exp(x, begin, std::min(cols, begin + kChunk), largest));
    total += sums.back();
  }
  double left = u * total;
  for (size_t i = 0; i < sums.size(); ++i) {
    if (!(left < sums[i])) {
      left -= sums[i];
      continue;
    }
    const auto begin = static_cast<int64_t>(i) * kChunk, end = std::min(cols, begin + kChunk);
    double sum = 0;
    for (int64_t c = begin; c < end; ++c) {
      sum += static_cast<double>(std::exp(x[c] - largest));
      if (left < sum) return static_cast<int32_t>(c);
    }
  }
  return static_cast<int32_t>(cols - 1);
}

// 53 random bits as a number of [0, 1).
double uniform(const std::array<uint32_t, 4>& words) {
  const uint64_t bits = (uint64_t{words[0]} << 21) ^ (words[1] >> 11);
  return static_cast<double>(bits) * 0x1.0p-53;
}

}  // namespace

void draw_tokens(engine::Tensor logits, const data::RaggedBatch& batch, uint64_t seed, uint64_t step,
                 int32_t* ids) {
  if (logits.rows != std::ssize(batch.label_rows))
    fail("draw_tokens: {} rows of logits for {} tokens", logits.rows, batch.label_rows.size());
  const PhiloxKey key = philox_key(seed, step, "drawn_tokens");
  parallel_blocks(logits.rows, 4, [&](int64_t begin, int64_t end) {
    std::vector<double> sums;
    for (int64_t i = begin; i < end; ++i) {
      const int32_t row = batch.label_rows[static_cast<size_t>(i)];
      const auto behind = std::upper_bound(batch.cu_seqlens.begin(), batch.cu_seqlens.end(), row);
      const auto sequence = static_cast<int32_t>(behind - batch.cu_seqlens.begin()) - 1;
      const auto example = static_cast<uint64_t>(batch.example_of(sequence));
      const auto words =
          philox4x32(key, {static_cast<uint32_t>(example), static_cast<uint32_t>(example >> 32),
                           static_cast<uint32_t>(batch.position_in_example[static_cast<size_t>(row)]), 0});
      ids[row] = column_at(logits.row(i), logits.cols, uniform(words), sums);
    }
  });
}

}  // namespace graft::tasks
