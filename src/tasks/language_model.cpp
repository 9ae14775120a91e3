#include "tasks/language_model.h"

#include <fmt/format.h>

#include <limits>

#include "base/log.h"
#include "tasks/vocabulary.h"

namespace graft::tasks {

void TokenAccuracy::merge(const Partial& part) {
  right_ += static_cast<int64_t>(part.at(0));
  total_ += static_cast<int64_t>(part.at(1));
}

MetricValues TokenAccuracy::values() const {
  return {{"accuracy", total_ ? static_cast<double>(right_) / static_cast<double>(total_)
                              : std::numeric_limits<double>::quiet_NaN()}};
}

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

data::TextBlocks read_corpus(const Model& model, const TaskData& data, const FeatureSettings& settings,
                             data::TextBlockOptions options, const char* unit) {
  options.line_by_line = settings.line_by_line;
  options.columns = data.columns;
  options.max_seq_length = static_cast<int32_t>(settings.max_seq_length);
  options.seed = settings.seed;
  constexpr int kShare = 5;
  options.validation_split_percentage = data.eval_files.empty() && settings.evaluates ? kShare : 0;
  data::TextBlocks blocks;
  if (!data.train_files.empty()) {
    blocks = data::read_text_blocks(data.train_files, *data.tokenizer, options);
    report("train", blocks.train, blocks.counts, options, unit);
  }
  if (!data.eval_files.empty()) {
    options.validation_split_percentage = 0;
    data::TextBlocks eval = data::read_text_blocks(data.eval_files, *data.tokenizer, options);
    report("eval", eval.train, eval.counts, options, unit);
    blocks.validation = std::move(eval.train);
  }
  for (const data::TokenStore* store : {&blocks.train, &blocks.validation})
    check_ids(store->ids.data(), store->ids.size(), model, *data.tokenizer, "the corpus");
  return blocks;
}

}  // namespace graft::tasks
