#include "engine/rows.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace graft::engine {

void check_rows(const char* operation, const Rows& rows, int64_t num_rows) {
  for (int64_t s = 0; s < rows.num_sequences; ++s) {
    const int64_t begin = rows.cu_seqlens[s], end = rows.cu_seqlens[s + 1];
    if (begin >= 0 && begin <= end && end <= num_rows) continue;
    fail("{}: sequence {} has rows {} to {} of {}", operation, s, begin, end, num_rows);
  }
  const int64_t covered = rows.num_sequences > 0 ? rows.cu_seqlens[rows.num_sequences] : 0;
  if (covered != num_rows || rows.num_rows != num_rows)
    fail("{}: {} sequences with {} rows for an input of {}", operation, rows.num_sequences, covered,
         num_rows);
}

Rows select_rows(Tape& tape, const Rows& all, const int32_t* rows, int64_t n) {
  auto* position = tape.push_array<int32_t>(n);
  auto* sequence = tape.push_array<int32_t>(n);
  auto* cu = tape.push_array<int32_t>(all.num_sequences + 1);
  std::fill_n(cu, all.num_sequences + 1, 0);
  for (int64_t i = 0; i < n; ++i) {
    // The first row of a sequence without rows is its neighbour's, or lies behind the batch.
    if (rows[i] < 0 || rows[i] >= all.num_rows)
      fail("select_rows: row {} of a batch of {} rows: does a sequence have no tokens?", rows[i],
           all.num_rows);
    if (i > 0 && rows[i] <= rows[i - 1]) {
      fail("select_rows: row {} after row {}: rows must ascend; does sequence {} have no tokens?", rows[i],
           rows[i - 1], all.sequence[rows[i]] - 1);
    }
    position[i] = all.position[rows[i]];
    sequence[i] = all.sequence[rows[i]];
    ++cu[sequence[i] + 1];
  }
  std::partial_sum(cu, cu + all.num_sequences + 1, cu);
  Rows out = all;
  out.num_rows = n;
  out.cu_seqlens = cu;
  out.position = position;
  out.sequence = sequence;
  return out;
}

}  // namespace graft::engine
