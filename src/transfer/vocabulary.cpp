#include "transfer/vocabulary.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/log.h"
#include "base/utf8.h"
#include "models/registry.h"
#include "models/state.h"
#include "transfer/carry_over.h"
#include "transfer/line_file.h"
#include "transfer/new_head.h"

namespace graft::transfer {
namespace fs = std::filesystem;

namespace {

constexpr std::string_view kContinues = "##";

// The text as the tokenizer's normalizer leaves it, so that the trainer needs to know neither case nor
// accents.
void write_normalized(const fs::path& text, const Tokenizer& tokenizer, const fs::path& to) {
  const MappedFile file(text);
  LineFile out(to);
  for (std::string_view rest = file.text(); !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    out.append(tokenizer.normalize(line));
    rest.remove_prefix(line.size() + 1);
  }
  out.finish();
}

// The old pieces of a new one, longest first as WordPiece takes them; empty where there are none.
std::vector<int32_t> parts_of(const std::string& piece, const Tokenizer& tokenizer) {
  std::vector<int32_t> parts;
  bool continues = piece.starts_with(kContinues);
  std::string_view rest = std::string_view(piece).substr(continues ? kContinues.size() : 0);
  while (!rest.empty()) {
    std::optional<int32_t> id;
    size_t length = rest.size();
    for (; length > 0 && !id; --length) {
      const bool cuts_character =
          length < rest.size() && (static_cast<unsigned char>(rest[length]) & 0xC0) == 0x80;
      if (!cuts_character)
        id = tokenizer.token_to_id(std::string(continues ? kContinues : "") +
                                   std::string(rest.substr(0, length)));
    }
    if (!id) return {};
    parts.push_back(*id);
    rest.remove_prefix(length + 1);  // the loop went one further
    continues = true;
  }
  return parts;
}

struct NewPieces {
  std::vector<std::string> pieces;
  std::vector<std::vector<int32_t>> parts;  // of each, in the old vocabulary
};

// The pieces of a new vocabulary in the order of learning, without those of a single character, those that
// the tokenizer has, and those with a character that it lacks.
NewPieces new_pieces(const fs::path& normalized, const Tokenizer& tokenizer, int64_t wanted) {
  TrainTokenizerOptions options;
  options.lowercase = false;
  options.min_frequency = 3;
  // Most of what a vocabulary learns first is common words, which the model has: several times as many are
  // needed.
  constexpr int64_t kTries = 3;
  NewPieces out;
  int64_t size = 8000 + 2 * wanted;
  for (int64_t attempt = 0; attempt < kTries; ++attempt, size *= 2) {
    options.vocab_size = static_cast<int32_t>(size);
    const auto learned = train_tokenizer({normalized}, options);
    out = {};
    for (int32_t id = 0; id < learned->vocab_size() && static_cast<int64_t>(out.pieces.size()) < wanted;
         ++id) {
      const std::string piece = learned->id_to_token(id);
      const std::string_view body =
          std::string_view(piece).substr(piece.starts_with(kContinues) ? kContinues.size() : 0);
      if (utf8::length(body) < 2 || learned->is_special(id) || tokenizer.token_to_id(piece)) continue;
      std::vector<int32_t> parts = parts_of(piece, tokenizer);
      if (parts.empty()) continue;
      out.pieces.push_back(piece);
      out.parts.push_back(std::move(parts));
    }
    if (static_cast<int64_t>(out.pieces.size()) == wanted || learned->vocab_size() < size)
      break;  // no more to learn
  }
  return out;
}

// tokenizer.json and vocab.txt with the new pieces at the end.
void write_tokenizer(const Tokenizer& tokenizer, const std::vector<std::string>& pieces, const fs::path& to) {
  tokenizer.save(to);
  const auto first = static_cast<int64_t>(tokenizer.vocab_size());
  Json json = read_json(to / "tokenizer.json");
  Json& vocabulary = json["model"]["vocab"];
  for (size_t i = 0; i < pieces.size(); ++i) vocabulary[pieces[i]] = first + static_cast<int64_t>(i);
  write_json(to / "tokenizer.json", json);
  if (!path_exists(to / "vocab.txt")) return;
  std::string lines = read_file(to / "vocab.txt");
  if (!lines.empty() && lines.back() != '\n') lines += '\n';
  if (const auto have = std::count(lines.begin(), lines.end(), '\n'); have != first)
    fail("{}: vocab.txt has {} lines and the tokenizer {} ids: added tokens lie behind the vocabulary",
         to.string(), have, first);
  for (const std::string& piece : pieces) lines += piece + "\n";
  write_file(to / "vocab.txt", lines);
}

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
  if (tokenizer->kind() != "WordPiece")
    fail_with("leave --extend_vocabulary out", "{}: its tokenizer is {}; pieces are added to WordPiece alone",
              from.string(), tokenizer->kind());
  make_folders(to);
  const fs::path normalized = to / "normalized.tmp";
  write_normalized(text, *tokenizer, normalized);
  const auto [pieces, parts] = new_pieces(normalized, *tokenizer, wanted);
  remove_file(normalized);
  if (pieces.empty()) fail("{}: the text has no piece that the vocabulary lacks", text.string());
  const int64_t first = tokenizer->vocab_size();
  const Model model = resized(from, objective, first + static_cast<int64_t>(pieces.size()));
  models::State& state = model.state();
  average_rows(state, state.network.encoder->word_embeddings()->name, first, parts);
  const models::TiedDecoder& decoder = state.family->decoder;
  for (const char* name : {decoder.tied_bias, decoder.bias, decoder.weight})
    if (name && state.parameters.find(name)) average_rows(state, name, first, parts);
  state.parameters.touch_values();
  model.save_pretrained(to);
  write_tokenizer(*tokenizer, pieces, to);
  carry_over(from, to);
  ExtendedVocabulary out;
  out.added = static_cast<int64_t>(pieces.size());
  for (size_t i = 0; i < pieces.size() && i < 8; ++i) out.examples.push_back(pieces[i]);
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
