#include "tasks/source_target.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "base/shown.h"
#include "tasks/vocabulary.h"

namespace graft::tasks {

namespace {

std::string place_of(const Dataset& dataset, size_t i) {
  const int64_t line = dataset[i].line;
  return fmt::format("{}: {} {}", dataset.origin().empty() ? "the data" : dataset.origin(),
                     line > 0 ? "line" : "example", line > 0 ? line : static_cast<int64_t>(i));
}

// The token to put behind each target; none where the tokenizer does it.
std::optional<int32_t> missing_end(const Tokenizer& tokenizer) {
  const std::optional<int32_t> eos = tokenizer.special_id("eos_token");
  const std::vector<int32_t> empty = tokenizer.encode("").input_ids;
  const auto sep = tokenizer.special_id("sep_token");
  if (!empty.empty() && (empty.back() == eos || empty.back() == sep)) return std::nullopt;
  if (!eos)
    fail_with("name one in tokenizer_config.json (\"eos_token\"), as the model was trained with",
              "the tokenizer has no eos_token, so that a target has no end");
  return eos;
}

void report_stream(const std::string& part, const char* name, const StreamCounts& c, int64_t rows,
                   int64_t length, const char* option) {
  const auto percent = [](int64_t n, int64_t of) {
    return 100.0 * static_cast<double>(n) / static_cast<double>(std::max<int64_t>(1, of));
  };
  if (c.truncated > 0)
    log_warning("{}: {} of {} {}s ({:.1f} %) were truncated at {} tokens, {} tokens in all; --{} keeps more",
                part, c.truncated, rows, name, percent(c.truncated, rows), length, c.truncated_tokens,
                option);
  if (c.unknown_tokens > 0)
    log_warning("{}: {} of {} tokens of the {}s ({:.2f} %) are unknown to the tokenizer", part,
                c.unknown_tokens, c.tokens, name, percent(c.unknown_tokens, c.tokens));
}

}  // namespace

void append_target(data::RaggedBatch& batch, const int32_t* ids, int32_t length,
                   int32_t decoder_start_token_id) {
  std::vector<int32_t> input = {decoder_start_token_id};
  input.insert(input.end(), ids, ids + length - 1);
  const int32_t first = batch.decoder.rows();
  batch.decoder.add(input.data(), nullptr, length);
  for (int32_t i = 0; i < length; ++i) {
    batch.label_rows.push_back(first + i);
    batch.labels.push_back(ids[i]);
  }
}

void SourceTargetFeatures::Stream::add(const Encoding& encoding, std::optional<int32_t> unknown,
                                       std::optional<int32_t> end) {
  ids.insert(ids.end(), encoding.input_ids.begin(), encoding.input_ids.end());
  if (end) ids.push_back(*end);
  offsets.push_back(static_cast<int64_t>(ids.size()));
  counts.truncated += encoding.num_truncated > 0;
  counts.truncated_tokens += encoding.num_truncated;
  counts.tokens = static_cast<int64_t>(ids.size());
  if (unknown)
    counts.unknown_tokens += std::count(encoding.input_ids.begin(), encoding.input_ids.end(), *unknown);
}

SourceTargetFeatures::SourceTargetFeatures(const Dataset& dataset, const Tokenizer& tokenizer,
                                           const SourceTargetSettings& settings)
    : decoder_start_token_id_(settings.decoder_start_token_id) {
  EncodeOptions options;
  options.ids_only = true;
  options.truncation = Truncation::longest_first;
  const auto unknown = tokenizer.special_id("unk_token"), end = missing_end(tokenizer);
  constexpr size_t kPiece = 4096;  // texts in flight
  std::vector<std::string> texts, pairs, targets;
  for (size_t begin = 0; begin < dataset.size(); begin += kPiece) {
    const size_t stop = std::min(dataset.size(), begin + kPiece);
    texts.clear();
    pairs.clear();
    targets.clear();
    for (size_t i = begin; i < stop; ++i) {
      texts.push_back(settings.source_prefix + dataset[i].text);
      if (dataset.has_pairs()) pairs.push_back(dataset[i].text_pair);
      targets.push_back(dataset[i].target);
    }
    options.max_length = settings.max_source_length;
    for (const Encoding& e : tokenizer.encode_batch(texts, pairs, options)) {
      const size_t i = sources_.offsets.size() - 1;
      if (e.input_ids.empty())
        fail_with(
            "remove the row, or write a text: this tokenizer adds no special tokens, so the model would "
            "read nothing",
            "{}: the source '{}' gives no tokens", place_of(dataset, i), shown(dataset[i].text));
      sources_.add(e, unknown, std::nullopt);
    }
    options.max_length = std::max(0, settings.max_target_length - (end ? 1 : 0));
    for (const Encoding& e : tokenizer.encode_batch(targets, {}, options)) targets_.add(e, unknown, end);
    targets_text_.insert(targets_text_.end(), targets.begin(), targets.end());
  }
}

int32_t SourceTargetFeatures::length(int64_t i) const { return sources_.length(i) + targets_.length(i); }

std::vector<int32_t> SourceTargetFeatures::source(int64_t i) const {
  return {sources_.row(i), sources_.row(i) + sources_.length(i)};
}

void SourceTargetFeatures::append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index,
                                            int64_t /*epoch*/) const {
  batch.append_sequence(sources_.row(i), nullptr, sources_.length(i), index);
  append_target(batch, targets_.row(i), targets_.length(i), decoder_start_token_id_);
}

std::unique_ptr<SourceTargetFeatures> encode_sources_and_targets(const std::string& part,
                                                                 const Dataset& dataset, const Model& model,
                                                                 const Tokenizer& tokenizer,
                                                                 const SourceTargetSettings& settings) {
  auto features = std::make_unique<SourceTargetFeatures>(dataset, tokenizer, settings);
  report_stream(part, "source", features->source_counts(), features->size(), settings.max_source_length,
                "max_seq_length");
  report_stream(part, "target", features->target_counts(), features->size(), settings.max_target_length,
                "max_target_length");
  if (tokenizer.vocab_size() <= embedding_rows(model)) return features;
  data::RaggedBatch batch;
  for (int64_t i = 0; i < features->size(); ++i) {
    batch.clear();
    features->append(batch, i, 0, -1);
    const std::string where = place_of(dataset, static_cast<size_t>(i));
    check_ids(batch.input_ids.data(), batch.input_ids.size(), model, tokenizer, where);
    check_ids(batch.labels.data(), batch.labels.size(), model, tokenizer, where);
  }
  return features;
}

}  // namespace graft::tasks
