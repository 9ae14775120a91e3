#include "tasks/language_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "base/log.h"
#include "data/token_cache.h"
#include "tasks/vocabulary.h"

namespace graft::tasks {

void TokenAccuracy::add(const data::RaggedBatch& batch, engine::Tensor logits) {
  int64_t right = 0;
  for (int64_t r = 0; r < logits.rows; ++r) {
    const float* x = logits.row(r);
    right += *std::max_element(x, x + logits.cols) == x[batch.labels[static_cast<size_t>(r)]];
  }
  add_counts(right, logits.rows);
}

void TokenAccuracy::merge(const Partial& part) {
  right_ += static_cast<int64_t>(part.at(0));
  total_ += static_cast<int64_t>(part.at(1));
}

MetricValues TokenAccuracy::values() const {
  return {{"accuracy", total_ ? static_cast<double>(right_) / static_cast<double>(total_)
                              : std::numeric_limits<double>::quiet_NaN()}};
}

engine::Var TokenPrediction::loss(engine::Tape& tape, engine::Var logits, const data::RaggedBatch& batch,
                                  double denominator, double* total) const {
  return engine::cross_entropy(tape, logits, batch.labels.data(), denominator, total, label_loss(tape));
}

engine::Var TokenPrediction::loss_of_hidden(engine::Tape& tape, engine::Var hidden,
                                            const engine::Linear& layer, const data::RaggedBatch& batch,
                                            double denominator, double* total, int64_t* right) const {
  return engine::linear_cross_entropy(
      tape, hidden, layer, batch.labels.data(), denominator,
      {.total = total, .label_smoothing = label_loss(tape).label_smoothing, .right = right});
}

MetricValues TokenPrediction::metrics_of_loss(double loss) const { return {{"perplexity", std::exp(loss)}}; }

namespace {

void report(const char* part, const data::TokenStore& sequences, const data::TextBlockCounts& c,
            const data::TextBlockOptions& options, const char* unit) {
  log_info(
      "{} corpus: {} lines -> {} {} of <= {} tokens; skipped {} empty lines, dropped {} tokens{}", part,
      c.lines, sequences.size(), unit, options.max_seq_length, c.empty_lines,
      c.truncated_tokens + c.dropped_tokens,
      c.validation_lines > 0 ? fmt::format("; {} lines held out for evaluation", c.validation_lines) : "");
}

}  // namespace

namespace {

// Piece by piece: the ids may be in a file that is larger than memory.
void check_all_ids(const data::TokenStore& store, const Model& model, const Tokenizer& tokenizer) {
  constexpr size_t kPiece = size_t{1} << 20;
  for (size_t at = 0; at < store.ids.size(); at += kPiece) {
    const size_t n = std::min(kPiece, store.ids.size() - at);
    check_ids(store.ids.read(at, n), n, model, tokenizer, "the corpus");
  }
}

}  // namespace

data::TextBlocks read_corpus(const Model& model, const TaskData& data, const FeatureSettings& settings,
                             data::TextBlockOptions options, const char* unit) {
  options.line_by_line = settings.line_by_line;
  options.columns = data.columns;
  options.max_seq_length = static_cast<int32_t>(settings.max_seq_length);
  options.seed = settings.seed;
  constexpr int kShare = 5;
  options.validation_split_percentage = data.eval_files.empty() && settings.evaluates ? kShare : 0;
  std::vector<std::filesystem::path> all = data.train_files;
  all.insert(all.end(), data.eval_files.begin(), data.eval_files.end());
  std::optional<data::TokenCache> cache;
  if (settings.tokenized_path && !all.empty())
    cache = data::choose_token_cache(*settings.tokenized_path, settings.overwrite_cache, all);
  const auto read = [&](const std::vector<std::filesystem::path>& files) {
    return cache ? data::read_cached_text_blocks(files, *data.tokenizer, options, *cache)
                 : data::read_text_blocks(files, *data.tokenizer, options);
  };
  data::TextBlocks blocks;
  if (!data.train_files.empty()) {
    blocks = read(data.train_files);
    report("train", blocks.train, blocks.counts, options, unit);
  }
  if (!data.eval_files.empty()) {
    options.validation_split_percentage = 0;
    data::TextBlocks eval = read(data.eval_files);
    report("eval", eval.train, eval.counts, options, unit);
    blocks.validation = std::move(eval.train);
  }
  for (const data::TokenStore* store : {&blocks.train, &blocks.validation})
    check_all_ids(*store, model, *data.tokenizer);
  return blocks;
}

}  // namespace graft::tasks
