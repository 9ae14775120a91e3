#include "tasks/question_answering.h"

#include <algorithm>

#include "base/error.h"
#include "engine/basic_ops.h"
#include "models/registry.h"

namespace graft::tasks {

using engine::Var;

namespace {

double labelled(const std::vector<int32_t>& positions) {
  return static_cast<double>(
      std::count_if(positions.begin(), positions.end(), [](int32_t p) { return p >= 0; }));
}

}  // namespace

double QuestionAnswering::loss_terms(const data::RaggedBatch& batch) const {
  return labelled(batch.start_positions) + labelled(batch.end_positions);
}

Var QuestionAnswering::loss(engine::Tape& tape, Var logits, const data::RaggedBatch& batch,
                            double denominator, double* total) const {
  const int32_t* begin = batch.outputs().cu_seqlens.data();
  const Var start = engine::slice_columns(tape, logits, 0, 1),
            end = engine::slice_columns(tape, logits, 1, 1);
  return engine::add(tape,
                     engine::segment_cross_entropy(tape, start, begin, batch.start_positions.data(),
                                                   batch.size(), denominator, total),
                     engine::segment_cross_entropy(tape, end, begin, batch.end_positions.data(), batch.size(),
                                                   denominator, total));
}

namespace {

class NoMetrics : public Metrics {
 public:
  void add(const data::RaggedBatch& /*batch*/, engine::Tensor /*logits*/) override {}
  Partial partial() const override { return {}; }
  void merge(const Partial& /*part*/) override {}
  MetricValues values() const override { return {}; }
};

std::unique_ptr<Task> make_question_answering(const Model& /*model*/, LabelKind /*labels*/) {
  return std::make_unique<QuestionAnswering>();
}

PreparedTask prepare_question_answering(Model& /*model*/, const TaskData& /*data*/,
                                        const FeatureSettings& /*settings*/) {
  fail("training on questions is not implemented yet");
}

void add_sample_spans(data::RaggedBatch& batch, const Model& /*model*/) {
  batch.start_positions.assign(static_cast<size_t>(batch.size()), 0);
  batch.end_positions = batch.start_positions;
}

}  // namespace

std::unique_ptr<Metrics> QuestionAnswering::metrics() const { return std::make_unique<NoMetrics>(); }

const TaskEntry& question_answering_task() {
  constexpr int64_t kLength = 384;  // run_qa's max_seq_length
  static const TaskEntry entry = {
      &models::kQuestionAnswering, Input::labelled_rows,       Answer::labels,  kLength, {}, nullptr,
      make_question_answering,     prepare_question_answering, add_sample_spans};
  return entry;
}

}  // namespace graft::tasks
