#include "tasks/examples.h"

#include <algorithm>

#include "base/log.h"
#include "tasks/vocabulary.h"

namespace graft::tasks {
namespace {

void report_encoding(const std::string& part, const TextFeatures& features, int64_t length) {
  const EncodingCounts& c = features.counts();
  const double examples = static_cast<double>(std::max<int64_t>(1, features.size()));
  if (c.truncated_examples > 0) {
    log_warning(
        "{}: {} of {} examples ({:.1f} %) were truncated at {} tokens, {} tokens in all; --max_seq_length "
        "keeps "
        "more",
        part, c.truncated_examples, features.size(),
        100.0 * static_cast<double>(c.truncated_examples) / examples, length, c.truncated_tokens);
  }
  if (c.unknown_tokens > 0) {
    log_warning("{}: {} of {} tokens ({:.2f} %) are unknown to the tokenizer", part, c.unknown_tokens,
                c.tokens, 100.0 * static_cast<double>(c.unknown_tokens) / static_cast<double>(c.tokens));
  }
}

void check_examples(const Features& features, const Dataset& dataset, const Model& model,
                    const Tokenizer& tokenizer) {
  if (tokenizer.vocab_size() <= embedding_rows(model)) return;
  data::RaggedBatch batch;
  for (int64_t i = 0; i < features.size(); ++i) {
    batch.clear();
    features.append(batch, i, 0, -1);
    const int64_t line = dataset.in_file() ? 0 : dataset[static_cast<size_t>(i)].line;
    std::string where = dataset.origin().empty() ? "the data" : dataset.origin();
    where += line > 0 ? fmt::format(": line {}", line) : fmt::format(": example {}", i);
    check_ids(batch.input_ids.data(), batch.input_ids.size(), model, tokenizer, where);
  }
}

}  // namespace

void warn_of_other_inputs(const Dataset& train, const Dataset& other) {
  if (train.size() == 0 || other.size() == 0 || train.has_pairs() == other.has_pairs()) return;
  const auto kind = [](const Dataset& d) { return d.has_pairs() ? "pairs of texts" : "single texts"; };
  log_warning(
      "{}: {}, but {} has {}; name the columns with --text_column and --text_pair_column if that is not "
      "meant",
      other.origin().empty() ? "the evaluation data" : other.origin(), kind(other),
      train.origin().empty() ? "the training data" : train.origin(), kind(train));
}

std::unique_ptr<TextFeatures> encode_examples(const std::string& part, const Dataset& dataset,
                                              const data::LabelMap& labels, const Model& model,
                                              const Tokenizer& tokenizer, const FeatureSettings& settings) {
  const auto length = static_cast<int32_t>(settings.max_seq_length);
  const bool cached = dataset.in_file() && settings.tokenized_path;
  auto features = std::make_unique<TextFeatures>(
      cached ? cached_text_rows(dataset, tokenizer, labels, length,
                                data::token_cache_in(*settings.tokenized_path, settings.overwrite_cache))
             : encode_text_rows(dataset, tokenizer, &labels, length));
  report_encoding(part, *features, length);
  check_examples(*features, dataset, model, tokenizer);
  return features;
}

}  // namespace graft::tasks
