#include "transfer/vocabulary.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/log.h"
#include "models/registry.h"
#include "models/state.h"
#include "transfer/carry_over.h"
#include "transfer/new_head.h"
#include "transfer/new_pieces.h"

namespace graft::transfer {
namespace fs = std::filesystem;

namespace {

// Rows `first`, ... of a parameter [V, n] (or [V]) become means of their parts' rows.
void average_rows(models::State& state, const std::string& name, int64_t first,
                  const std::vector<std::vector<int32_t>>& parts) {
  const engine::Parameter& p = *state.parameters.find(name);
  const engine::HostWrite values = state.parameters.write_value(p);
  const int64_t cols = p.size / p.shape[0];
  float* rows = values.data();
  for (size_t i = 0; i < parts.size(); ++i) {
    float* row = rows + (first + static_cast<int64_t>(i)) * cols;
    for (int64_t c = 0; c < cols; ++c) {
      double sum = 0;
      for (const int32_t part : parts[i]) sum += rows[part * cols + c];
      row[c] = static_cast<float>(sum / static_cast<double>(parts[i].size()));
    }
  }
}

// The model with its vocabulary resized. Without the objective's head it stays without one.
Model resized(const fs::path& from, const Objective& objective, int64_t rows) {
  ModelOptions options;
  options.task = objective.head->task;
  Model model = Model::from_pretrained(from, options);
  if (has_new_head(model)) {
    options.task = models::kSentenceEmbedding.task;
    model = Model::from_pretrained(from, options);
  }
  return model.with_task(options, std::max(rows, model.state().network.encoder->word_embeddings()->rows()));
}

}  // namespace

ExtendedVocabulary extend_vocabulary(const fs::path& from, const fs::path& text, int64_t wanted,
                                     const Objective& objective, const fs::path& to) {
  const auto tokenizer = Tokenizer::from_pretrained(from);
  make_folders(to);
  const LearnedPieces learned = learn_pieces(text, *tokenizer, wanted, to / "pieces.tmp");
  const auto& [added, parts, first] = learned;
  if (added.pieces.empty()) fail("{}: the text has no piece that the vocabulary lacks", text.string());
  const Model model = resized(from, objective, first + std::ssize(added.pieces));
  models::State& state = model.state();
  average_rows(state, state.network.encoder->word_embeddings()->name, first, parts);
  const models::TiedDecoder& decoder = state.family->decoder;
  for (const char* name : {decoder.tied_bias, decoder.bias, decoder.weight})
    if (name && state.parameters.find(name)) average_rows(state, name, first, parts);
  state.parameters.touch_values();
  model.save_pretrained(to);
  tokenizer->save(to);
  text::VocabularyFiles(to).append(added);
  carry_over(from, to);
  ExtendedVocabulary out;
  out.added = std::ssize(added.pieces);
  for (size_t i = 0; i < added.pieces.size() && i < 8; ++i) out.examples.push_back(added.pieces[i]);
  const TokenizerStats before = tokenizer_stats(*tokenizer, text),
                       after = tokenizer_stats(*Tokenizer::from_pretrained(to), text);
  out.tokens_per_word_before = before.fertility();
  out.tokens_per_word_after = after.fertility();
  out.unknown_before = before.unknown_rate();
  out.unknown_after = after.unknown_rate();
  return out;
}

void log_vocabulary(const ExtendedVocabulary& v) {
  log_info(
      "vocabulary: {} pieces added ({}, ...), each the mean of its parts; tokens a word of the corpus {:.3f} "
      "-> {:.3f}, "
      "unknown tokens {:.3f} % -> {:.3f} %",
      v.added, fmt::join(v.examples, ", "), v.tokens_per_word_before, v.tokens_per_word_after,
      100 * v.unknown_before, 100 * v.unknown_after);
}

Json to_json(const ExtendedVocabulary& v) {
  return {{"added", v.added},
          {"examples", v.examples},
          {"tokens_per_word_before", v.tokens_per_word_before},
          {"tokens_per_word_after", v.tokens_per_word_after},
          {"unknown_rate_before", v.unknown_before},
          {"unknown_rate_after", v.unknown_after}};
}

ExtendedVocabulary extended_vocabulary(const Json& json) {
  ExtendedVocabulary v;
  v.added = json.at("added").get<int64_t>();
  v.examples = json.at("examples").get<std::vector<std::string>>();
  v.tokens_per_word_before = json.at("tokens_per_word_before").get<double>();
  v.tokens_per_word_after = json.at("tokens_per_word_after").get<double>();
  v.unknown_before = json.at("unknown_rate_before").get<double>();
  v.unknown_after = json.at("unknown_rate_after").get<double>();
  return v;
}

}  // namespace graft::transfer
