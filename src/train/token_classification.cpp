#include "graft/token_classification.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/utf8.h"
#include "tasks/token_classification.h"
#include "tasks/token_windows.h"
#include "tasks/vocabulary.h"
#include "train/argument_values.h"
#include "train/entity_groups.h"
#include "train/inference.h"
#include "train/saved_arguments.h"

namespace graft {
namespace {

// A text with its tokens in windows, and their scores.
struct ScoredText {
  ScoredText(Encoding e, int64_t max_length, int64_t stride)
      : encoding(std::move(e)), windowed(encoding, max_length, stride) {}
  ScoredText(const ScoredText&) = delete;
  ScoredText& operator=(const ScoredText&) = delete;

  Encoding encoding;
  tasks::WindowedText windowed;
  std::vector<size_t> window_of;  // of each token
  std::vector<float> scores;      // [tokens, labels]
};

// Every token is read in the best window of its word, or, where that has not the whole word, in its own.
void choose_windows(ScoredText& text) {
  const int32_t n = text.windowed.num_tokens();
  const auto word = [&](int32_t t) { return text.encoding.word_ids[text.windowed.index(t)]; };
  for (int32_t begin = 0; begin < n;) {
    int32_t end = begin + 1;
    while (end < n && word(end) == word(begin)) ++end;
    const size_t best = text.windowed.best_window(begin, end - 1);
    for (int32_t t = begin; t < end; ++t)
      text.window_of.push_back(t < text.windowed.windows()[best].end ? best
                                                                     : text.windowed.best_window(t, t));
    begin = end;
  }
}

// In fp32 and in this order, as the reference does.
void append_softmax(const float* logits, size_t n, float* out) {
  const float largest = *std::max_element(logits, logits + n);
  float sum = 0;
  for (size_t i = 0; i < n; ++i) sum += out[i] = std::exp(logits[i] - largest);
  for (size_t i = 0; i < n; ++i) out[i] /= sum;
}

}  // namespace

struct TokenClassificationPipeline::Parts {
  Parts(const std::filesystem::path& folder, const TokenClassificationOptions& options)
      : inference(folder, tasks::token_classification_task().head->task, options),
        aggregation(options.aggregation),
        labels(inference.model().labels()) {
    const std::optional<int64_t> asked =
        options.stride >= 0 ? std::optional<int64_t>(options.stride) : train::saved_arguments(folder).stride;
    const auto special = static_cast<int64_t>(inference.tokenizer().encode("").input_ids.size());
    stride = tasks::window_stride(asked, inference.options().max_seq_length, special);
    word_piece = inference.tokenizer().kind() == "WordPiece";
    unknown = inference.tokenizer().special_id("unk_token").value_or(-1);
  }

  std::unique_ptr<ScoredText> encode(Encoding encoding, size_t i, size_t count) const;
  void score(const std::vector<std::unique_ptr<ScoredText>>& texts) const;
  std::vector<train::ScoredToken> tokens_of(const ScoredText& text, const std::string& characters) const;
  std::vector<TextEntity> single_tokens(const std::vector<train::ScoredToken>& tokens) const;
  std::vector<TextEntity> entities(const std::vector<train::ScoredToken>& tokens,
                                   const std::string& text) const;

  train::Inference inference;
  Aggregation aggregation;
  std::vector<std::string> labels;
  int64_t stride = 0;
  bool word_piece = false;
  int32_t unknown = -1;
  mutable std::atomic<int64_t> windowed = 0;
};

std::unique_ptr<ScoredText> TokenClassificationPipeline::Parts::encode(Encoding encoding, size_t i,
                                                                       size_t count) const {
  try {
    tasks::check_ids(encoding.input_ids.data(), encoding.input_ids.size(), inference.model(),
                     inference.tokenizer(), "");
  } catch (const Error& e) {
    throw train::TextError(i, count, e);
  }
  auto text = std::make_unique<ScoredText>(std::move(encoding), inference.options().max_seq_length, stride);
  windowed += text->windowed.windows().size() > 1;
  choose_windows(*text);
  text->scores.resize(static_cast<size_t>(text->windowed.num_tokens()) * labels.size());
  return text;
}

// All windows of the texts, batch_size in a pass.
void TokenClassificationPipeline::Parts::score(const std::vector<std::unique_ptr<ScoredText>>& texts) const {
  data::RaggedBatch batch;
  std::vector<float*> to;  // of each row of logits
  std::vector<int32_t> ids, types;
  int64_t key = 0;
  const auto run = [&] {
    if (batch.size() > 0)
      inference.run(batch, [&](engine::Tensor logits) {
        for (int64_t r = 0; r < logits.rows; ++r)
          append_softmax(logits.row(r), labels.size(), to[static_cast<size_t>(r)]);
      });
    batch.clear();
    to.clear();
  };
  for (const std::unique_ptr<ScoredText>& text : texts) {
    for (size_t w = 0; w < text->windowed.windows().size(); ++w) {
      const auto [begin, end] = text->windowed.windows()[w];
      if (begin == end) continue;  // a text without tokens
      ids.clear();
      types.clear();
      text->windowed.append_window(w, ids, types);
      const int32_t first = batch.rows();
      batch.append(ids.data(), types.data(), static_cast<int32_t>(ids.size()), key++);
      for (int32_t t = begin; t < end; ++t) {
        if (text->window_of[static_cast<size_t>(t)] != w) continue;
        batch.label_rows.push_back(first + text->windowed.position(w, t));
        to.push_back(text->scores.data() + static_cast<size_t>(t) * labels.size());
      }
      if (batch.size() == inference.options().batch_size) run();
    }
  }
  run();
}

// gather_pre_entities of the reference: the word of a WordPiece token goes on where the token is not the
// characters themselves; of other tokenizers where no space is beside its start.
std::vector<train::ScoredToken> TokenClassificationPipeline::Parts::tokens_of(
    const ScoredText& text, const std::string& characters) const {
  std::vector<train::ScoredToken> tokens;
  for (int32_t t = 0; t < text.windowed.num_tokens(); ++t) {
    const size_t at = text.windowed.index(t);
    train::ScoredToken token;
    token.token = inference.tokenizer().id_to_token(text.encoding.input_ids[at]);
    token.scores = text.scores.data() + static_cast<size_t>(t) * labels.size();
    token.start = text.encoding.offsets[at].first;
    token.end = text.encoding.offsets[at].second;
    token.index = static_cast<int64_t>(at);
    if (text.encoding.input_ids[at] == unknown)
      token.token = train::slice(characters, token.start, token.end);
    else if (word_piece)
      token.continues =
          utf8::length(token.token) != static_cast<size_t>(std::max<int64_t>(0, token.end - token.start));
    else
      token.continues =
          token.start > 0 &&
          train::slice(characters, token.start - 1, token.start + 1).find(' ') == std::string::npos;
    tokens.push_back(std::move(token));
  }
  return tokens;
}

std::vector<TextEntity> TokenClassificationPipeline::Parts::single_tokens(
    const std::vector<train::ScoredToken>& tokens) const {
  std::vector<TextEntity> out;
  const std::vector<train::LabelledPart> parts = train::label_parts(tokens, labels.size(), Aggregation::none);
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string& label = labels[static_cast<size_t>(parts[i].label)];
    if (label == "O") continue;
    out.push_back({label, parts[i].score, tokens[i].token, tokens[i].start, tokens[i].end, tokens[i].index});
  }
  return out;
}

std::vector<TextEntity> TokenClassificationPipeline::Parts::entities(
    const std::vector<train::ScoredToken>& tokens, const std::string& text) const {
  if (aggregation == Aggregation::none) return single_tokens(tokens);
  return train::group_parts(train::label_parts(tokens, labels.size(), aggregation), labels, text);
}

TokenClassificationPipeline::TokenClassificationPipeline(const std::filesystem::path& folder,
                                                         const TokenClassificationOptions& options) try
    : parts_(std::make_unique<Parts>(folder, options)) {
} catch (...) {
  rethrow_as_error();
}

TokenClassificationPipeline::~TokenClassificationPipeline() = default;
TokenClassificationPipeline::TokenClassificationPipeline(TokenClassificationPipeline&&) noexcept = default;

const std::vector<std::string>& TokenClassificationPipeline::labels() const { return parts_->labels; }
const Model& TokenClassificationPipeline::model() const { return parts_->inference.model(); }
Aggregation TokenClassificationPipeline::aggregation() const { return parts_->aggregation; }
int64_t TokenClassificationPipeline::num_windowed() const { return parts_->windowed; }

std::vector<std::vector<TextEntity>> TokenClassificationPipeline::predict(
    const std::vector<std::string>& texts) const try {
  const Parts& p = *parts_;
  const train::ThreadsOfACall threads(p.inference.options().num_threads);
  std::vector<std::unique_ptr<ScoredText>> scored;
  for (size_t i = 0; i < texts.size(); ++i)
    scored.push_back(p.encode(p.inference.tokenizer().encode(texts[i]), i, texts.size()));
  p.score(scored);
  std::vector<std::vector<TextEntity>> out;
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::string text = utf8::replace_invalid(texts[i]);
    out.push_back(p.entities(p.tokens_of(*scored[i], text), text));
  }
  return out;
} catch (...) {
  rethrow_as_error();
}

namespace {

// Words joined by spaces, and where each begins, in code points.
struct JoinedWords {
  explicit JoinedWords(const std::vector<std::string>& words) {
    int64_t at = 0;
    for (const std::string& given : words) {
      const std::string word = utf8::replace_invalid(given);
      text += (begins.empty() ? "" : " ") + word;
      at += !begins.empty();
      begins.push_back(at);
      at += static_cast<int64_t>(utf8::length(word));
    }
  }
  std::string text;
  std::vector<int64_t> begins;
};

}  // namespace

std::vector<TaggedWords> TokenClassificationPipeline::predict_words(
    const std::vector<std::vector<std::string>>& texts) const try {
  const Parts& p = *parts_;
  const train::ThreadsOfACall threads(p.inference.options().num_threads);
  std::vector<std::unique_ptr<ScoredText>> scored;
  for (size_t i = 0; i < texts.size(); ++i)
    scored.push_back(p.encode(p.inference.tokenizer().encode_words(texts[i]), i, texts.size()));
  p.score(scored);
  std::vector<TaggedWords> out(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const JoinedWords joined(texts[i]);
    std::vector<train::ScoredToken> tokens = p.tokens_of(*scored[i], "");
    out[i].tags.resize(texts[i].size());
    out[i].scores.resize(texts[i].size());
    int32_t before = -1;
    for (train::ScoredToken& token : tokens) {
      const int32_t word = scored[i]->encoding.word_ids[static_cast<size_t>(token.index)];
      token.start += joined.begins[static_cast<size_t>(word)];
      token.end += joined.begins[static_cast<size_t>(word)];
      token.continues = word == before;
      before = word;
    }
    const Aggregation words = p.aggregation == Aggregation::none || p.aggregation == Aggregation::simple
                                  ? Aggregation::first
                                  : p.aggregation;
    const std::vector<train::LabelledPart> parts = train::label_parts(tokens, p.labels.size(), words);
    size_t part = 0;
    for (const train::ScoredToken& token : tokens) {
      if (token.continues) continue;
      const auto word = static_cast<size_t>(scored[i]->encoding.word_ids[static_cast<size_t>(token.index)]);
      out[i].tags[word] = p.labels[static_cast<size_t>(parts[part].label)];
      out[i].scores[word] = parts[part++].score;
    }
    out[i].entities = p.entities(tokens, joined.text);
  }
  return out;
} catch (...) {
  rethrow_as_error();
}

}  // namespace graft
