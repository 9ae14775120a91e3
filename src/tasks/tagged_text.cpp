#include "tasks/tagged_text.h"

#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "base/log.h"
#include "base/shown.h"
#include "base/utf8.h"
#include "tasks/vocabulary.h"

namespace graft::tasks {

// The ids of O, B- and I- of each type of span.
class SpanLabels {
 public:
  SpanLabels(const data::LabelMap& map, const Dataset& dataset) : map_(map), dataset_(dataset) {}
  int outside(int64_t line) { return id("O", line); }
  int of(const TextSpan& span, bool first, int64_t line) {
    return id((first ? "B-" : "I-") + span.label, line);
  }

 private:
  int id(const std::string& tag, int64_t line) {
    const auto [at, is_new] = ids_.emplace(tag, -1);
    if (is_new) at->second = map_.id_of(tag, line, dataset_);
    return at->second;
  }
  const data::LabelMap& map_;
  const Dataset& dataset_;
  std::unordered_map<std::string, int> ids_;
};

namespace {

// run_ner's b_to_i_label: a name B-X becomes I-X where there is such a label.
std::vector<int> labels_inside(const std::vector<std::string>& names) {
  std::vector<int> inside;
  for (size_t i = 0; i < names.size(); ++i) {
    int to = static_cast<int>(i);
    if (names[i].starts_with("B-")) {
      const auto at = std::find(names.begin(), names.end(), "I-" + names[i].substr(2));
      if (at != names.end()) to = static_cast<int>(at - names.begin());
    }
    inside.push_back(to);
  }
  return inside;
}

// The characters of a text, to look at those between two offsets.
std::vector<char32_t> code_points(const std::string& text) {
  std::vector<char32_t> out;
  char32_t c = 0;
  for (size_t pos = 0; pos < text.size();) {
    const int n = utf8::decode(text, pos, c);
    out.push_back(n == 0 ? U'\uFFFD' : c);
    pos += static_cast<size_t>(std::max(n, 1));
  }
  return out;
}

// The offsets of a token without the white space at its ends; empty for a token of white space.
std::pair<int64_t, int64_t> without_space(std::pair<int32_t, int32_t> offsets,
                                          const std::vector<char32_t>& text) {
  int64_t begin = offsets.first, end = std::min<int64_t>(offsets.second, static_cast<int64_t>(text.size()));
  while (begin < end && utf8::is_space(text[static_cast<size_t>(begin)])) ++begin;
  while (begin < end && utf8::is_space(text[static_cast<size_t>(end) - 1])) --end;
  return {begin, end};
}

}  // namespace

TaggedFeatures::TaggedFeatures(const Dataset& dataset, const Tokenizer& tokenizer,
                               const data::LabelMap& labels, const TaggedTextOptions& options)
    : options_(options), inside_(labels_inside(labels.names())) {
  const auto unknown = tokenizer.special_id("unk_token");
  SpanLabels span_labels(labels, dataset);
  std::unordered_map<std::string, int> ids;
  std::vector<std::string> words;
  std::vector<int> word_labels;
  for (const Example& example : dataset.examples()) {
    words.clear();
    word_labels.clear();
    for (const TaggedWord& word : example.words) {
      const auto [at, is_new] = ids.emplace(word.tag, -1);
      if (is_new) at->second = labels.id_of(word.tag, word.line, dataset);
      words.push_back(word.text);
      word_labels.push_back(at->second);
    }
    const Encoding encoding =
        example.has_spans ? tokenizer.encode(example.text) : tokenizer.encode_words(words);
    const WindowedText text(encoding, options.max_seq_length, options.stride);
    add(text, example.has_spans ? tokens_of_spans(example, encoding, text, span_labels)
                                : tokens_of_words(example, encoding, text, word_labels));
    ++counts_.texts;
    counts_.windowed_texts += text.windows().size() > 1;
    counts_.tokens += static_cast<int64_t>(encoding.input_ids.size());
    if (unknown)
      counts_.unknown_tokens += std::count(encoding.input_ids.begin(), encoding.input_ids.end(), *unknown);
  }
}

std::vector<TaggedFeatures::Token> TaggedFeatures::tokens_of_words(const Example& example,
                                                                   const Encoding& encoding,
                                                                   const WindowedText& text,
                                                                   const std::vector<int>& labels) {
  std::vector<Token> tokens(static_cast<size_t>(text.num_tokens()));
  int32_t next = 0;  // the first word without a token so far
  const auto count_missing = [&](int32_t before) {
    for (; next < before; ++next) {
      const TaggedWord& word = example.words[static_cast<size_t>(next)];
      if (counts_.words_without_tokens++ > 0) continue;
      counts_.first_without_tokens = word.line;
      counts_.word_without_tokens = word.text;
    }
  };
  for (int32_t t = 0; t < text.num_tokens(); ++t) {
    const int32_t word = encoding.word_ids[text.index(t)];
    tokens[static_cast<size_t>(t)] = {word, labels[static_cast<size_t>(word)]};
    if (word < next) continue;
    count_missing(word);
    next = word + 1;
  }
  count_missing(static_cast<int32_t>(example.words.size()));
  counts_.words += static_cast<int64_t>(example.words.size());
  return tokens;
}

std::vector<TaggedFeatures::Token> TaggedFeatures::tokens_of_spans(const Example& example,
                                                                   const Encoding& encoding,
                                                                   const WindowedText& text,
                                                                   SpanLabels& labels) {
  const std::vector<char32_t> characters = code_points(example.text);
  std::vector<Token> tokens(static_cast<size_t>(text.num_tokens()));
  std::vector<uint8_t> cut(example.spans.size()), used(cut);
  int32_t unit = -1, word_before = -1;
  size_t span = 0, span_before = cut.size();
  for (int32_t t = 0; t < text.num_tokens(); ++t) {
    const auto [begin, end] = without_space(encoding.offsets[text.index(t)], characters);
    if (begin == end) continue;
    while (span < cut.size() && example.spans[span].end <= begin) ++span;
    const bool inside = span < cut.size() && example.spans[span].begin < end;
    const size_t own = inside ? span : cut.size();
    const int32_t word = encoding.word_ids[text.index(t)];
    if (word != word_before || own != span_before) ++unit;
    word_before = word;
    span_before = own;
    if (!inside) {
      tokens[static_cast<size_t>(t)] = {unit, labels.outside(example.line)};
      continue;
    }
    const TextSpan& s = example.spans[span];
    cut[span] = cut[span] || begin < s.begin || end > s.end;
    // Of a unit the label of its first token counts.
    tokens[static_cast<size_t>(t)] = {unit, labels.of(s, !used[span], example.line)};
    used[span] = 1;
  }
  count_spans(example, cut, used);
  counts_.words += unit + 1;
  return tokens;
}

void TaggedFeatures::count_spans(const Example& example, const std::vector<uint8_t>& cut,
                                 const std::vector<uint8_t>& used) {
  for (size_t i = 0; i < cut.size(); ++i) {
    const TextSpan& s = example.spans[i];
    ++counts_.spans;
    if (!used[i] && counts_.lost_spans++ == 0) counts_.first_lost = example.line;
    if (!cut[i] || counts_.cut_spans++ > 0) continue;
    counts_.first_cut = example.line;
    counts_.cut_span = fmt::format("[{}, {}) {}", s.begin, s.end, s.label);
  }
}

void TaggedFeatures::add(const WindowedText& text, const std::vector<Token>& tokens) {
  // Rows and labels of each window.
  std::vector<std::vector<std::pair<int32_t, int>>> rows(text.windows().size());
  const auto total = static_cast<int32_t>(tokens.size());
  for (int32_t t = 0; t < total;) {
    const Token& first = tokens[static_cast<size_t>(t)];
    int32_t end = t + 1;
    while (end < total && tokens[static_cast<size_t>(end)].unit == first.unit) ++end;
    if (first.unit >= 0) {
      const size_t window = text.best_window(t, end - 1);
      rows[window].emplace_back(text.position(window, t), first.label);
      for (int32_t i = t + 1; i < end && options_.label_all_tokens; ++i) {
        const size_t own = i < text.windows()[window].end ? window : text.best_window(i, i);
        rows[own].emplace_back(text.position(own, i), inside_[static_cast<size_t>(first.label)]);
      }
    }
    t = end;
  }
  const bool apart = options_.windows_apart;
  for (size_t w = 0; w < rows.size(); ++w) {
    if ((apart || total == 0) && rows[w].empty()) continue;  // nothing to learn or to score
    text.append_window(w, ids_, types_);
    sequences_.push_back(static_cast<int64_t>(ids_.size()));
    for (const auto& [row, label] : rows[w]) {
      label_rows_.push_back(row);
      labels_.push_back(label);
    }
    label_ends_.push_back(static_cast<int64_t>(labels_.size()));
    ++counts_.windows;
    if (apart) examples_.push_back(static_cast<int64_t>(sequences_.size()) - 1);
  }
  if (!apart && examples_.back() + 1 < static_cast<int64_t>(sequences_.size()))
    examples_.push_back(static_cast<int64_t>(sequences_.size()) - 1);
}

int32_t TaggedFeatures::length(int64_t i) const {
  const auto at = static_cast<size_t>(i);
  return static_cast<int32_t>(sequences_[static_cast<size_t>(examples_[at + 1])] -
                              sequences_[static_cast<size_t>(examples_[at])]);
}

void TaggedFeatures::append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index,
                                      int64_t /*epoch*/) const {
  const auto at = static_cast<size_t>(i);
  const int64_t begin = examples_[at], end = examples_[at + 1];
  for (int64_t s = begin; s < end; ++s) {
    const auto sequence = static_cast<size_t>(s);
    const int32_t first = batch.rows();
    batch.append_sequence(ids_.data() + sequences_[sequence], types_.data() + sequences_[sequence],
                          static_cast<int32_t>(sequences_[sequence + 1] - sequences_[sequence]),
                          end - begin == 1 ? index : data::sequence_key(index, s - begin));
    for (int64_t l = label_ends_[sequence]; l < label_ends_[sequence + 1]; ++l) {
      batch.label_rows.push_back(first + label_rows_[static_cast<size_t>(l)]);
      batch.labels.push_back(labels_[static_cast<size_t>(l)]);
    }
  }
}

std::unique_ptr<TaggedFeatures> encode_tagged(const std::string& part, const Dataset& dataset,
                                              const data::LabelMap& labels, const Model& model,
                                              const Tokenizer& tokenizer, const TaggedTextOptions& options) {
  auto features = std::make_unique<TaggedFeatures>(dataset, tokenizer, labels, options);
  const std::string file = dataset.origin().empty() ? "the data" : dataset.origin();
  check_ids(features->ids().data(), features->ids().size(), model, tokenizer, file);
  const TaggedCounts& c = features->counts();
  if (c.windowed_texts > 0)
    log_info("{}: {} of {} texts are longer than {} tokens and are read in windows that share {} (--stride)",
             part, c.windowed_texts, c.texts, options.max_seq_length, options.stride);
  if (c.unknown_tokens > 0)
    log_warning("{}: {} of {} tokens ({:.2f} %) are unknown to the tokenizer", part, c.unknown_tokens,
                c.tokens, 100.0 * static_cast<double>(c.unknown_tokens) / static_cast<double>(c.tokens));
  if (c.words_without_tokens > 0)
    log_warning(
        "{}: the tokenizer makes nothing of {} of {} words: they are neither learned nor scored ({}: "
        "line {}: '{}')",
        part, c.words_without_tokens, c.words, file, c.first_without_tokens,
        shown_in_ascii(c.word_without_tokens));
  if (c.cut_spans > 0)
    log_warning(
        "{}: {} of {} spans begin or end inside a token, which is labelled as a whole ({}: line {}: {})",
        part, c.cut_spans, c.spans, file, c.first_cut, shown(c.cut_span));
  if (c.lost_spans > 0)
    log_warning("{}: {} of {} spans have no token of their own and are left out (the first: {}: line {})",
                part, c.lost_spans, c.spans, file, c.first_lost);
  return features;
}

}  // namespace graft::tasks
