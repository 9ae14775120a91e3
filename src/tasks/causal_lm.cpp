#include "tasks/causal_lm.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/log.h"
#include "models/registry.h"
#include "tasks/vocabulary.h"

namespace graft::tasks {

namespace {

class CausalLmMetrics : public Metrics {
 public:
  void add(const data::RaggedBatch& batch, engine::Tensor logits) override {
    for (int64_t r = 0; r < logits.rows; ++r) {
      const float* x = logits.row(r);
      right_ += *std::max_element(x, x + logits.cols) == x[batch.labels[static_cast<size_t>(r)]];
      ++total_;
    }
  }
  void add_counts(int64_t right, int64_t terms) override {
    right_ += right;
    total_ += terms;
  }
  Partial partial() const override { return {static_cast<double>(right_), static_cast<double>(total_)}; }
  void merge(const Partial& part) override {
    right_ += static_cast<int64_t>(part.at(0));
    total_ += static_cast<int64_t>(part.at(1));
  }
  MetricValues values() const override {
    return {{"accuracy", total_ ? static_cast<double>(right_) / static_cast<double>(total_)
                                : std::numeric_limits<double>::quiet_NaN()}};
  }

 private:
  int64_t right_ = 0, total_ = 0;
};

// The texts of one block have keys of their own for dropout.
constexpr int64_t kTextsOfABlock = int64_t{1} << 20;

}  // namespace

engine::Var CausalLm::loss(engine::Tape& tape, engine::Var logits, const data::RaggedBatch& batch,
                           double denominator, double* total) const {
  return engine::cross_entropy(tape, logits, batch.labels.data(), denominator, total);
}

engine::Var CausalLm::loss_of_hidden(engine::Tape& tape, engine::Var hidden, const engine::Linear& layer,
                                     const data::RaggedBatch& batch, double denominator, double* total,
                                     int64_t* right) const {
  return engine::linear_cross_entropy(tape, hidden, layer, batch.labels.data(), denominator,
                                      {.total = total, .right = right});
}

std::unique_ptr<Metrics> CausalLm::metrics() const { return std::make_unique<CausalLmMetrics>(); }

MetricValues CausalLm::metrics_of_loss(double loss) const { return {{"perplexity", std::exp(loss)}}; }

void append_predicted(data::RaggedBatch& batch, const int32_t* ids, int32_t length, int64_t index) {
  const int32_t first = batch.rows();
  batch.append(ids, nullptr, length, index);
  for (int32_t i = 0; i + 1 < length; ++i) {
    batch.label_rows.push_back(first + i);
    batch.labels.push_back(ids[i + 1]);
  }
}

void CausalFeatures::append(data::RaggedBatch& batch, int64_t i, int64_t index, int64_t /*epoch*/) const {
  const int64_t begin = tokens_.offsets[static_cast<size_t>(i)],
                end = tokens_.offsets[static_cast<size_t>(i) + 1];
  const auto& documents = tokens_.documents;
  auto next = std::upper_bound(documents.begin(), documents.end(), begin);
  int64_t text = 0;
  const int32_t sequences = batch.size();
  for (int64_t at = begin; at < end; ++text) {
    const int64_t stop = next == documents.end() ? end : std::min(end, *next++);
    // A text of one token predicts nothing, and nothing reads it.
    if (stop - at > 1)
      append_predicted(batch, tokens_.ids.data() + at, static_cast<int32_t>(stop - at),
                       index * kTextsOfABlock + text);
    at = stop;
  }
  if (batch.size() == sequences)  // a batch has rows, also where they predict nothing
    append_predicted(batch, tokens_.ids.data() + begin, 1, index * kTextsOfABlock);
}

namespace {

void report_texts(const char* part, const data::TokenStore& sequences, const data::TextBlockCounts& c,
                  const data::TextBlockOptions& options) {
  log_info(
      "{} corpus: {} lines -> {} {} of <= {} tokens; skipped {} empty lines, dropped {} tokens{}", part,
      c.lines, sequences.size(), options.line_by_line ? "sequences" : "blocks", options.max_seq_length,
      c.empty_lines, c.truncated_tokens + c.dropped_tokens,
      c.validation_lines > 0 ? fmt::format("; {} lines held out for evaluation", c.validation_lines) : "");
}

std::unique_ptr<Task> make_causal_lm(const Model& /*model*/, LabelKind /*labels*/) {
  return std::make_unique<CausalLm>();
}

PreparedTask prepare_causal_lm(Model& model, const TaskData& data, const FeatureSettings& settings) {
  data::TextBlockOptions options;
  options.line_by_line = data.line_by_line;
  options.documents = !data.line_by_line && !settings.join_texts;
  options.columns = data.columns;
  options.max_seq_length = static_cast<int32_t>(settings.max_seq_length);
  options.seed = settings.seed;
  constexpr int kShare = 5;  // run_clm's validation_split_percentage
  options.validation_split_percentage = data.eval_files.empty() && settings.evaluates ? kShare : 0;
  data::TextBlocks blocks;
  if (!data.train_files.empty()) {
    blocks = data::read_text_blocks(data.train_files, *data.tokenizer, options);
    report_texts("train", blocks.train, blocks.counts, options);
  }
  if (!data.eval_files.empty()) {
    options.validation_split_percentage = 0;
    data::TextBlocks eval = data::read_text_blocks(data.eval_files, *data.tokenizer, options);
    report_texts("eval", eval.train, eval.counts, options);
    blocks.validation = std::move(eval.train);
  }
  for (const data::TokenStore* store : {&blocks.train, &blocks.validation})
    check_ids(store->ids.data(), store->ids.size(), model, *data.tokenizer, "the corpus");
  PreparedTask out;
  out.task = std::make_unique<CausalLm>();
  if (blocks.train.size() > 0) out.train = std::make_unique<CausalFeatures>(std::move(blocks.train));
  if (blocks.validation.size() > 0) out.eval = std::make_unique<CausalFeatures>(std::move(blocks.validation));
  out.saved["line_by_line"] = data.line_by_line;
  return out;
}

void add_next_tokens(data::RaggedBatch& batch, const Model& /*model*/) {
  for (int32_t r = 0; r < batch.rows(); ++r) {
    if (r + 1 == batch.rows() || batch.position_in_example[static_cast<size_t>(r) + 1] == 0) continue;
    batch.label_rows.push_back(r);
    batch.labels.push_back(0);
  }
}

}  // namespace

const TaskEntry& causal_lm_task() {
  static const TaskEntry entry = {
      &models::kCausalLm, Input::text,       Answer::text_scores, 0, {"line_by_line", "join_texts"}, nullptr,
      make_causal_lm,     prepare_causal_lm, add_next_tokens};
  return entry;
}

}  // namespace graft::tasks
