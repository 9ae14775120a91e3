#include "tasks/masked_lm.h"

#include <algorithm>
#include <limits>

namespace graft::tasks {

namespace {

class MaskedLmMetrics : public Metrics {
 public:
  void add(const data::RaggedBatch& batch, engine::Tensor logits) override {
    for (int64_t r = 0; r < logits.rows; ++r) {
      const float* x = logits.row(r);
      right_ += std::max_element(x, x + logits.cols) - x == batch.labels[static_cast<size_t>(r)];
      ++total_;
    }
  }
  MetricValues values() const override {
    return {{"accuracy", total_ ? static_cast<double>(right_) / static_cast<double>(total_)
                                : std::numeric_limits<double>::quiet_NaN()}};
  }

 private:
  int64_t right_ = 0, total_ = 0;
};

}  // namespace

engine::Var MaskedLm::loss(engine::Tape& tape, engine::Var logits, const data::RaggedBatch& batch,
                           double denominator, double* total) const {
  return engine::cross_entropy(tape, logits, batch.labels.data(), denominator, total);
}

std::unique_ptr<Metrics> MaskedLm::metrics() const { return std::make_unique<MaskedLmMetrics>(); }

void MaskedFeatures::append(data::RaggedBatch& batch, int64_t i, int64_t index, int64_t epoch) const {
  const int32_t first = batch.rows(), length = tokens_.length(i);
  batch.append(tokens_.row(i), nullptr, length, index);
  data::MaskedRows masked;
  masker_.mask(epoch, i, batch.input_ids.data() + first, tokens_.row_word_starts(i), length, first, masked);
  batch.label_rows.insert(batch.label_rows.end(), masked.rows.begin(), masked.rows.end());
  batch.labels.insert(batch.labels.end(), masked.labels.begin(), masked.labels.end());
}

}  // namespace graft::tasks
