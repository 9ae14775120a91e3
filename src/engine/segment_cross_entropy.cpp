// Cross entropy over the rows of each segment, composed of basic operations: logits are few (one per token or
// sequence), so that a kernel of its own would save nothing that can be measured.
#include <algorithm>
#include <limits>
#include <vector>

#include "base/error.h"
#include "engine/basic_ops.h"

namespace graft::engine {
namespace {

// The rows and segments that have a label.
struct Labelled {
  std::vector<int32_t> segments, rows;
};

Labelled labelled_rows(const int32_t* begin, const int32_t* labels, int64_t num_segments) {
  Labelled out;
  for (int64_t s = 0; s < num_segments; ++s) {
    if (labels[s] < 0) continue;
    if (labels[s] >= begin[s + 1] - begin[s])
      fail("label {} of segment {}, which has {} rows", labels[s], s, begin[s + 1] - begin[s]);
    out.segments.push_back(static_cast<int32_t>(s));
    out.rows.push_back(begin[s] + labels[s]);
  }
  return out;
}

Var host_constant(Tape& tape, const float* values, int64_t rows) {
  return tape.constant(make_tensor(const_cast<float*>(tape.on_device(values, rows)), rows, 1));
}

// The largest logit of each row's segment, so that no exp overflows, and the segments' lengths.
struct Shift {
  Var of_rows, lengths;  // [R,1], [S,1]
};

Shift make_shift(Tape& tape, Tensor logits, const int32_t* begin, int64_t num_segments) {
  auto* shift = tape.push_array<float>(logits.rows);
  auto* lengths = tape.push_array<float>(num_segments);
  const Tensor host = tape.on_host(logits);
  for (int64_t s = 0; s < num_segments; ++s) {
    lengths[s] = static_cast<float>(begin[s + 1] - begin[s]);
    float largest = -std::numeric_limits<float>::max();
    for (int32_t r = begin[s]; !tape.planning() && r < begin[s + 1]; ++r)
      largest = std::max(largest, *host.row(r));
    std::fill(shift + begin[s], shift + begin[s + 1], largest);
  }
  return {host_constant(tape, shift, logits.rows), host_constant(tape, lengths, num_segments)};
}

}  // namespace

Var segment_cross_entropy(Tape& tape, Var logits, const int32_t* begin, const int32_t* labels,
                          int64_t num_segments, double denominator, double* total) {
  if (logits->data.cols != 1) fail("segment_cross_entropy: logits of {} columns", logits->data.cols);
  const Labelled labelled = labelled_rows(begin, labels, num_segments);
  const auto n = static_cast<int64_t>(labelled.rows.size());
  Rows segments;
  segments.num_rows = logits->data.rows;
  segments.num_sequences = num_segments;
  segments.cu_seqlens = begin;
  const Shift shift = make_shift(tape, logits->data, begin, num_segments);
  const Var x = sub(tape, logits, shift.of_rows);
  const Var sums = mul(tape, mean_pool(tape, exp(tape, x), segments), shift.lengths);
  const Var terms = sub(tape, log(tape, gather(tape, sums, labelled.segments.data(), n)),
                        gather(tape, x, labelled.rows.data(), n));
  if (total && !tape.planning()) {
    const Tensor host = tape.on_host(terms->data);
    for (int64_t i = 0; i < n; ++i) *total += *host.row(i);
  }
  return scale(tape, reduce_sum(tape, terms, Over::all), static_cast<float>(1 / denominator));
}

}  // namespace graft::engine
