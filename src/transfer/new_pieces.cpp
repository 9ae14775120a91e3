#include "transfer/new_pieces.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <optional>
#include <unordered_map>

#include "base/error.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/utf8.h"
#include "graft/train_tokenizer.h"
#include "text/train_bpe.h"
#include "transfer/line_file.h"

namespace graft::transfer {
namespace fs = std::filesystem;

namespace {

constexpr int64_t kRarest = 3;                                  // occurrences of what is learned
constexpr std::string_view kWordStart = "\xE2\x96\x81";         // U+2581 of sentencepiece
constexpr std::string_view kByteStart = "<0x", kByteEnd = ">";  // "<0x0A>", a byte without a piece

// The text as the tokenizer's normalizer leaves it, so that the trainer needs to know neither case nor
// accents.
fs::path normalized(const fs::path& text, const Tokenizer& tokenizer, const fs::path& scratch) {
  LineFile out(scratch / "normalized.txt");
  for_each_line(text, [&](std::string_view line) { out.append(tokenizer.normalize(line)); });
  out.finish();
  return scratch / "normalized.txt";
}

bool cuts_character(std::string_view text, size_t at) {
  return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
}

// Learns vocabularies of rising size until take(learned) says that it has enough. Most of what a vocabulary
// learns first is common words, which the model has: several times as many are needed.
void learn_vocabularies(const fs::path& text, TrainTokenizerOptions options, int64_t wanted,
                        const std::function<bool(const Tokenizer&)>& take) {
  constexpr int64_t kTries = 3;
  int64_t size = 8000 + 2 * wanted;
  for (int64_t attempt = 0; attempt < kTries; ++attempt, size *= 2) {
    options.vocab_size = static_cast<int32_t>(size);
    const auto learned = train_tokenizer({text}, options);
    if (take(*learned) || learned->vocab_size() < size) return;  // or there is no more to learn
  }
}

// The old pieces of a new one, longest first as WordPiece takes them; empty where there are none.
std::vector<int32_t> longest_parts(const std::string& piece, const std::string& prefix,
                                   const Tokenizer& tokenizer) {
  std::vector<int32_t> parts;
  bool continues = piece.starts_with(prefix);
  std::string_view rest = std::string_view(piece).substr(continues ? prefix.size() : 0);
  while (!rest.empty()) {
    std::optional<int32_t> id;
    size_t length = rest.size();
    for (; length > 0; --length) {
      if (cuts_character(rest, length)) continue;
      id = tokenizer.token_to_id((continues ? prefix : "") + std::string(rest.substr(0, length)));
      if (id) break;
    }
    if (!id) return {};
    parts.push_back(*id);
    rest.remove_prefix(length);
    continues = true;
  }
  return parts;
}

void learn_wordpieces(const fs::path& text, const Tokenizer& tokenizer, const text::VocabularyFiles& files,
                      int64_t wanted, LearnedPieces& out) {
  const std::string prefix = files.continuing_prefix();
  TrainTokenizerOptions options;
  options.lowercase = false;
  options.min_frequency = kRarest;
  learn_vocabularies(text, options, wanted, [&](const Tokenizer& learned) {
    out.added = {};
    out.parts.clear();
    for (int32_t id = 0; id < learned.vocab_size() && std::ssize(out.parts) < wanted; ++id) {
      const std::string piece = learned.id_to_token(id);
      const std::string_view body =
          std::string_view(piece).substr(piece.starts_with(prefix) ? prefix.size() : 0);
      if (utf8::length(body) < 2 || learned.is_special(id) || files.has(piece)) continue;
      std::vector<int32_t> parts = longest_parts(piece, prefix, tokenizer);
      if (parts.empty()) continue;
      out.added.pieces.push_back(piece);
      out.parts.push_back(std::move(parts));
    }
    return std::ssize(out.parts) == wanted;
  });
}

// The words of the text as the tokenizer cuts them. No pair crosses the start of a word, a special token, or
// a byte that has no piece.
std::vector<text::CountedPieces> cut_words(const fs::path& text, const Tokenizer& tokenizer) {
  constexpr size_t kLines = 4096;                   // in flight
  std::unordered_map<std::string, int64_t> counts;  // by the bytes of the ids
  std::vector<bool> alone(static_cast<size_t>(tokenizer.vocab_size())), starts(alone.size());
  const std::optional<int32_t> unknown = tokenizer.special_id("unk_token");
  for (size_t i = 0; i < alone.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    const std::string token = tokenizer.id_to_token(id);
    alone[i] = tokenizer.is_special(id) || token.empty() || unknown == id ||
               (token.starts_with(kByteStart) && token.ends_with(kByteEnd));
    starts[i] = token.starts_with(kWordStart);
  }
  EncodeOptions options;
  options.add_special_tokens = false;
  const auto count = [&](const std::vector<int32_t>& word) {
    if (word.size() > 1)
      ++counts[std::string(reinterpret_cast<const char*>(word.data()), word.size() * sizeof(int32_t))];
  };
  std::vector<std::string> lines;
  const auto count_lines = [&] {
    for (const Encoding& e : tokenizer.encode_batch(lines, {}, options)) {
      std::vector<int32_t> word;
      for (size_t i = 0; i < e.input_ids.size(); ++i) {
        const auto id = static_cast<size_t>(e.input_ids[i]);
        const bool begins = i > 0 && (e.word_ids[i] != e.word_ids[i - 1] || starts[id]);
        if (begins || alone[id]) {
          count(word);
          word.clear();
        }
        if (!alone[id]) word.push_back(e.input_ids[i]);
      }
      count(word);
    }
    lines.clear();
  };
  for_each_line(text, [&](std::string_view line) {
    lines.emplace_back(line);
    if (lines.size() == kLines) count_lines();
  });
  count_lines();
  std::vector<text::CountedPieces> words;
  words.reserve(counts.size());
  for (const auto& [bytes, n] : counts) {
    const auto* ids = reinterpret_cast<const int32_t*>(bytes.data());
    words.push_back({{ids, ids + bytes.size() / sizeof(int32_t)}, n});
  }
  std::sort(words.begin(), words.end(), [](const auto& a, const auto& b) { return a.pieces < b.pieces; });
  return words;
}

void learn_merges(const fs::path& text, const Tokenizer& tokenizer, const text::VocabularyFiles& files,
                  int64_t wanted, LearnedPieces& out) {
  std::vector<std::string> tokens;
  for (int32_t id = 0; id < files.num_ids(); ++id) tokens.push_back(tokenizer.id_to_token(id));
  std::unordered_map<std::string, std::vector<int32_t>> parts;
  for (int32_t id = 0; id < files.num_ids(); ++id) parts.try_emplace(tokens[static_cast<size_t>(id)], 1, id);
  text::BpeTrainerOptions options;
  options.vocab_size = files.num_ids() + static_cast<int32_t>(wanted);
  options.min_frequency = kRarest;
  options.prefix = files.continuing_prefix();
  const size_t old = tokens.size();
  text::TrainedBpe learned = continue_bpe(std::move(tokens), cut_words(text, tokenizer), options);
  for (const auto& [left, right] : learned.merges) {
    const bool continues = !options.prefix.empty() && right.starts_with(options.prefix);
    const std::string whole = left + right.substr(continues ? options.prefix.size() : 0);
    std::vector<int32_t> both = parts.at(left);
    const std::vector<int32_t>& more = parts.at(right);
    both.insert(both.end(), more.begin(), more.end());
    parts.try_emplace(whole, std::move(both));  // an old piece that is made another way keeps its id
  }
  out.added.merges = std::move(learned.merges);
  for (size_t id = old; id < learned.tokens.size(); ++id) {
    out.parts.push_back(parts.at(learned.tokens[id]));
    out.added.pieces.push_back(std::move(learned.tokens[id]));
  }
}

struct Cut {
  double score = 0;
  std::vector<int32_t> pieces;  // empty: a character is unknown
};

// The likeliest cut of a text by the old pieces.
Cut best_cut(const std::string& text, const Tokenizer& tokenizer, const std::vector<double>& scores) {
  struct Best {
    double score = -std::numeric_limits<double>::infinity();
    int32_t piece = -1;
    size_t begin = 0;
  };
  std::vector<Best> best(text.size() + 1);
  best[0].score = 0;
  for (size_t begin = 0; begin < text.size(); ++begin) {
    if (cuts_character(text, begin) || (begin > 0 && best[begin].piece < 0)) continue;
    for (size_t end = begin + 1; end <= text.size(); ++end) {
      if (cuts_character(text, end)) continue;
      const auto id = tokenizer.token_to_id(text.substr(begin, end - begin));
      if (!id || tokenizer.is_special(*id) || static_cast<size_t>(*id) >= scores.size()) continue;
      const double score = best[begin].score + scores[static_cast<size_t>(*id)];
      if (score > best[end].score) best[end] = {score, *id, begin};
    }
  }
  Cut cut;
  if (best.back().piece < 0) return cut;
  cut.score = best.back().score;
  for (size_t end = text.size(); end > 0; end = best[end].begin) cut.pieces.push_back(best[end].piece);
  std::reverse(cut.pieces.begin(), cut.pieces.end());
  return cut;
}

void learn_scored_pieces(const fs::path& text, const Tokenizer& tokenizer, const text::VocabularyFiles& files,
                         int64_t wanted, const fs::path& scratch, LearnedPieces& out) {
  const std::vector<double> old = files.scores();
  const double lowest = *std::min_element(old.begin(), old.end());
  TrainTokenizerOptions options;
  options.type = "unigram";
  learn_vocabularies(text, options, wanted, [&](const Tokenizer& learned) {
    out.added = {};
    out.parts.clear();
    learned.save(scratch / "learned");
    const std::vector<double> scores = text::VocabularyFiles(scratch / "learned").scores();
    std::vector<int32_t> order;
    for (int32_t id = 0; id < std::ssize(scores); ++id)
      if (!learned.is_special(id)) order.push_back(id);
    const auto score = [&](int32_t id) { return scores[static_cast<size_t>(id)]; };
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return score(a) > score(b); });
    for (const int32_t id : order) {
      if (std::ssize(out.parts) == wanted || score(id) < lowest) break;
      const std::string piece = learned.id_to_token(id);
      const std::string_view body =
          std::string_view(piece).substr(piece.starts_with(kWordStart) ? kWordStart.size() : 0);
      if (utf8::length(body) < 2 || files.has(piece)) continue;
      Cut cut = best_cut(piece, tokenizer, old);
      if (cut.pieces.empty() || cut.score >= score(id)) continue;
      out.added.pieces.push_back(piece);
      out.added.scores.push_back(score(id));
      out.parts.push_back(std::move(cut.pieces));
    }
    return std::ssize(out.parts) == wanted;
  });
}

}  // namespace

LearnedPieces learn_pieces(const fs::path& text, const Tokenizer& tokenizer, int64_t wanted,
                           const fs::path& scratch) {
  make_folders(scratch);
  tokenizer.save(scratch / "old");
  const text::VocabularyFiles files(scratch / "old");
  LearnedPieces out;
  out.first_id = files.num_ids();
  if (files.type() == "WordPiece")
    learn_wordpieces(normalized(text, tokenizer, scratch), tokenizer, files, wanted, out);
  else if (files.type() == "BPE")
    learn_merges(text, tokenizer, files, wanted, out);
  else if (files.type() == "Unigram")
    learn_scored_pieces(normalized(text, tokenizer, scratch), tokenizer, files, wanted, scratch, out);
  else
    fail_with("leave --extend_vocabulary out", "{}: pieces are not added to a {} vocabulary",
              tokenizer.kind(), files.type());
  remove_tree(scratch);
  return out;
}

}  // namespace graft::transfer
