#include "tasks/seq2seq_lm.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "models/decoder.h"
#include "models/registry.h"
#include "models/state.h"
#include "tasks/examples.h"
#include "tasks/source_target.h"

namespace graft::tasks {

namespace {

class Seq2SeqMetrics : public TokenAccuracy {
 public:
  void add(const data::RaggedBatch& batch, engine::Tensor logits) override {
    int64_t right = 0;
    for (int64_t r = 0; r < logits.rows; ++r) {
      const float* x = logits.row(r);
      right += *std::max_element(x, x + logits.cols) == x[batch.labels[static_cast<size_t>(r)]];
    }
    add_counts(right, logits.rows);
  }
  MetricValues values() const override {
    return {{"token_accuracy", TokenAccuracy::values().front().second}};
  }
};

}  // namespace

float Seq2SeqLm::smoothing(const engine::Tape& tape) const { return tape.record() ? label_smoothing_ : 0; }

engine::Var Seq2SeqLm::loss(engine::Tape& tape, engine::Var logits, const data::RaggedBatch& batch,
                            double denominator, double* total) const {
  return engine::cross_entropy(tape, logits, batch.labels.data(), denominator, total, smoothing(tape));
}

engine::Var Seq2SeqLm::loss_of_hidden(engine::Tape& tape, engine::Var hidden, const engine::Linear& layer,
                                      const data::RaggedBatch& batch, double denominator, double* total,
                                      int64_t* right) const {
  return engine::linear_cross_entropy(tape, hidden, layer, batch.labels.data(), denominator,
                                      {.total = total, .label_smoothing = smoothing(tape), .right = right});
}

std::unique_ptr<Metrics> Seq2SeqLm::metrics() const { return std::make_unique<Seq2SeqMetrics>(); }

MetricValues Seq2SeqLm::metrics_of_loss(double loss) const { return {{"perplexity", std::exp(loss)}}; }

namespace {

int32_t start_token(const Model& model) {
  return *model.state().network.encoder->decoder()->decoder_start_token_id();
}

std::unique_ptr<Task> make_seq2seq_lm(const Model& /*model*/, LabelKind /*labels*/) {
  return std::make_unique<Seq2SeqLm>();
}

PreparedTask prepare_seq2seq_lm(Model& model, const TaskData& data, const FeatureSettings& settings) {
  SourceTargetSettings streams;
  streams.max_source_length = static_cast<int32_t>(settings.max_seq_length);
  streams.max_target_length = static_cast<int32_t>(settings.max_target_length);
  streams.source_prefix = settings.source_prefix;
  streams.decoder_start_token_id = start_token(model);
  warn_of_other_inputs(data.train, data.eval);
  warn_of_other_inputs(data.train, data.test);
  const auto encode = [&](const char* part, const Dataset& set) -> std::unique_ptr<Features> {
    if (set.size() == 0) return nullptr;
    if (!set.has_targets())
      fail_with("read the file with DatasetOptions::text_to_text, or set Example::target",
                "{}: the rows have no targets", set.origin().empty() ? "the data" : set.origin());
    return encode_sources_and_targets(part, set, model, *data.tokenizer, streams);
  };
  PreparedTask out;
  out.task = std::make_unique<Seq2SeqLm>(settings.label_smoothing_factor);
  out.train = encode("train", data.train);
  out.eval = encode("eval", data.eval);
  out.test = encode("test", data.test);
  return out;
}

// A target a third as long as its source.
void add_sample_targets(data::RaggedBatch& batch, const Model& model) {
  for (int32_t b = 0; b < batch.size(); ++b) {
    const auto at = static_cast<size_t>(b);
    const std::vector<int32_t> ids(static_cast<size_t>(batch.cu_seqlens[at + 1] - batch.cu_seqlens[at] + 2) /
                                   3);
    append_target(batch, ids.data(), static_cast<int32_t>(ids.size()), start_token(model));
  }
}

}  // namespace

const TaskEntry& seq2seq_lm_task() {
  constexpr int64_t kLength = 1024;  // run_summarization's max_source_length
  static const TaskEntry entry = {&models::kSeq2SeqLm,
                                  Input::source_and_target,
                                  Answer::texts,
                                  kLength,
                                  {"max_target_length", "source_prefix", "label_smoothing_factor"},
                                  nullptr,
                                  make_seq2seq_lm,
                                  prepare_seq2seq_lm,
                                  add_sample_targets};
  return entry;
}

}  // namespace graft::tasks
