// Trained vocabularies against twins that recount everything after every merge.
#include "graft/train_tokenizer.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/threads.h"
#include "base/utf8.h"
#include "support/shared.h"
#include "text/train_bpe.h"
#include "text/train_unigram.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

// A few hundred words in four scripts with many repeated parts.
WordCounts four_scripts() {
  const char* texts[] = {
      "the theme then there lower lowest newer newest wider widest banana bananas anna aaa aaaa aaaaa low "
      "new wide",
      "мама мыла раму рама мамы мыло мыла ломал молоко молока около окно окна аааа",
      "自然语言处理 自然语言 语言处理 处理 自然 语言 语言语言 大学 北京大学 北京 大北京",
      "الكتاب كتاب كتب مكتبة مكتب الكاتب كاتب الكتب والكتاب",
  };
  std::map<std::string, int64_t> counts;
  int64_t n = 1;
  for (const std::string text : texts)
    for (size_t pos = 0; pos < text.size();) {
      const size_t end = std::min(text.find(' ', pos), text.size());
      counts[text.substr(pos, end - pos)] += 1 + n++ % 7;
      pos = end + 1;
    }
  return {counts.begin(), counts.end()};
}

// The definition: count all pairs, take the most frequent (of equals the lowest ids), merge, start again.
TrainedBpe brute_force(const WordCounts& counts, const BpeTrainerOptions& options) {
  TrainedBpe out;
  std::map<std::string, int32_t> ids;
  const auto id_of = [&](const std::string& token) {
    const auto [it, is_new] = ids.emplace(token, static_cast<int32_t>(out.tokens.size()));
    if (is_new) out.tokens.push_back(token);
    return it->second;
  };
  for (const std::string& t : options.special_tokens) id_of(t);
  const auto alphabet = choose_alphabet(counts, options.limit_alphabet, options.initial_alphabet);
  for (const std::string& c : alphabet) id_of(c);
  std::vector<std::vector<std::string>> words;
  std::map<std::string, bool> inner;
  for (const auto& [word, count] : counts) {
    words.emplace_back();
    for (size_t pos = 0; pos < word.size();) {
      const size_t begin = pos;
      next_char(word, pos);
      const std::string c = word.substr(begin, pos - begin);
      if (begin > 0) inner[c] = true;
      if (std::find(alphabet.begin(), alphabet.end(), c) == alphabet.end()) continue;
      words.back().push_back(begin > 0 ? options.prefix + c : c);
    }
  }
  if (!options.prefix.empty())
    for (const std::string& c : alphabet)
      if (inner[c]) id_of(options.prefix + c);
  while (out.tokens.size() < static_cast<size_t>(options.vocab_size)) {
    std::map<std::pair<int32_t, int32_t>, int64_t> pairs;
    for (size_t w = 0; w < words.size(); ++w)
      for (size_t i = 0; i + 1 < words[w].size(); ++i)
        pairs[{ids.at(words[w][i]), ids.at(words[w][i + 1])}] += counts[w].second;
    std::pair<int32_t, int32_t> best;
    int64_t best_count = 0;
    for (const auto& [pair, count] : pairs)
      if (count > best_count) {
        best = pair;
        best_count = count;
      }
    if (best_count < std::max<int64_t>(1, options.min_frequency)) break;
    const std::string a = out.tokens[best.first], b = out.tokens[best.second];
    const std::string merged = a + (b.rfind(options.prefix, 0) == 0 ? b.substr(options.prefix.size()) : b);
    out.merges.emplace_back(a, b);
    id_of(merged);
    for (auto& word : words) {
      std::vector<std::string> next;
      for (size_t i = 0; i < word.size(); ++i) {
        if (i + 1 < word.size() && word[i] == a && word[i + 1] == b) {
          next.push_back(merged);
          ++i;
        } else {
          next.push_back(word[i]);
        }
      }
      word = std::move(next);
    }
  }
  return out;
}

TEST(TrainBpe, EqualsTheBruteForceTwin) {
  const WordCounts words = four_scripts();
  for (const char* prefix : {"", "##"})
    for (const int32_t vocab_size : {90, 150, 400})
      for (const int32_t limit : {0, 30}) {
        BpeTrainerOptions options;
        options.vocab_size = vocab_size;
        options.prefix = prefix;
        options.limit_alphabet = limit;
        options.min_frequency = vocab_size == 400 ? 3 : 0;
        options.special_tokens = {"[PAD]", "[UNK]"};
        const TrainedBpe got = train_bpe(words, options), want = brute_force(words, options);
        EXPECT_EQ(got.tokens, want.tokens) << prefix << vocab_size;
        EXPECT_EQ(got.merges, want.merges) << prefix << vocab_size;
        EXPECT_FALSE(got.merges.empty());
      }
}

TEST(ChooseAlphabet, KeepsTheMostFrequentAndTheInitialOnes) {
  const WordCounts words = {{"aab", 5}, {"cc", 2}, {"d", 1}};
  EXPECT_EQ(choose_alphabet(words, 2, {}), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(choose_alphabet(words, 2, {"z"}), (std::vector<std::string>{"a", "z"}));
  EXPECT_EQ(choose_alphabet(words, 0, {"z"}), (std::vector<std::string>{"a", "b", "c", "d", "z"}));
}

TEST(SeedPieces, CountsSubstringsAsAScanDoes) {
  const WordCounts words = four_scripts();
  UnigramTrainerOptions options;
  options.max_piece_length = 4;
  options.alphabet = choose_alphabet(words, 0, {});
  std::map<std::string, int64_t> counts;
  for (const auto& [word, count] : words)
    for (size_t begin = 0; begin < word.size(); begin += sequence_length(word[begin])) {
      size_t pos = begin;
      for (int n = 0; n < 4 && pos < word.size(); ++n) {
        next_char(word, pos);
        counts[word.substr(begin, pos - begin)] += count;
      }
    }
  std::map<std::string, bool> want, got;
  for (const auto& [piece, count] : counts)
    if (count_chars(piece) == 1 || count >= 2) want[piece] = true;
  for (const ScoredPiece& piece : seed_pieces(words, options)) got[piece.text] = true;
  EXPECT_EQ(got, want);
}

class TrainTokenizer : public testing::TestWithParam<const char*> {};

TEST_P(TrainTokenizer, IsTheSameForAnyNumberOfThreadsAndReadsItself) {
  const test::TempDir dir;
  std::string text;
  for (int i = 0; i < 300; ++i)
    for (const auto& [word, count] : four_scripts()) text += word + (count % 3 == i % 3 ? "\n" : " ");
  text += "end\n";
  const auto file = dir.write("train.txt", text);
  TrainTokenizerOptions options;
  options.type = GetParam();
  options.vocab_size = options.type == "bpe" ? 320 : 180;
  std::string first;
  for (const int threads : {1, 2, 5}) {
    set_num_threads(threads);
    const auto tokenizer = train_tokenizer({file}, options);
    const auto folder = dir / ("out" + std::to_string(threads));
    tokenizer->save(folder);
    const std::string written = read_file(folder / "tokenizer.json");
    if (first.empty()) first = written;
    EXPECT_EQ(written, first);
    const auto loaded = Tokenizer::from_pretrained(folder);
    const Encoding e = loaded->encode("newest молоко 北京大学");
    EXPECT_EQ(e.input_ids, tokenizer->encode("newest молоко 北京大学").input_ids);
    EXPECT_EQ(e.special_tokens_mask.front(), 1);
    EXPECT_LE(loaded->vocab_size(), options.vocab_size);
    EXPECT_EQ(loaded->model_max_length(), 512);
    // The legacy files beside it say the same.
    if (options.type != "unigram") {
      std::filesystem::remove(folder / "tokenizer.json");
      EXPECT_EQ(Tokenizer::from_pretrained(folder)->encode("newest молоко 北京大学").input_ids, e.input_ids);
    }
    const TokenizerStats stats = tokenizer_stats(*loaded, file);
    EXPECT_EQ(stats.bytes, static_cast<int64_t>(text.size()) - stats.lines);
    EXPECT_EQ(stats.unknown_tokens, 0);
    EXPECT_GT(stats.fertility(), 0.9);
    EXPECT_GT(stats.bytes_per_token(), 2.0);
  }
  set_num_threads(0);
}

// GPT-2's form: one special token in all roles, and nothing around a text.
TEST(TrainByteLevel, EndOfTextMakesAGpt2Tokenizer) {
  const test::TempDir dir;
  const auto file = dir.write("train.txt", "the newest news of the newer north\n");
  TrainTokenizerOptions options;
  options.type = "bpe";
  options.vocab_size = 270;
  options.special_tokens = {"<|endoftext|>"};
  train_tokenizer({file}, options)->save(dir / "out");
  const auto loaded = Tokenizer::from_pretrained(dir / "out");
  EXPECT_EQ(loaded->token_to_id("<|endoftext|>"), 0);
  EXPECT_EQ(loaded->encode("news<|endoftext|>").input_ids.back(), 0);
  EXPECT_NE(loaded->encode("news").input_ids.back(), 0);
  const Json config = parse_json(read_file(dir / "out" / "tokenizer_config.json"), "tokenizer_config.json");
  EXPECT_EQ(config.value("tokenizer_class", ""), "GPT2Tokenizer");
  for (const char* role : {"bos_token", "eos_token", "unk_token"})
    EXPECT_EQ(config.value(role, ""), "<|endoftext|>") << role;
}

// T5's form: the end token behind a text, the sentinels are the last ids, <extra_id_0> the very last.
TEST(TrainUnigram, ExtraIdsMakeAT5Tokenizer) {
  const test::TempDir dir;
  const auto file = dir.write("train.txt", "the newest news of the newer north\nnone of the others\n");
  TrainTokenizerOptions options;
  options.type = "unigram";
  options.vocab_size = 40;
  options.extra_ids = 5;
  train_tokenizer({file}, options)->save(dir / "out");
  const auto loaded = Tokenizer::from_pretrained(dir / "out");
  const auto last = static_cast<int32_t>(loaded->vocab_size()) - 1;
  EXPECT_EQ(loaded->token_to_id("<pad>"), 0);
  EXPECT_EQ(loaded->token_to_id("</s>"), 1);
  EXPECT_EQ(loaded->token_to_id("<unk>"), 2);
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(loaded->token_to_id("<extra_id_" + std::to_string(i) + ">"), last - i);
  EXPECT_EQ(loaded->token_to_id("<extra_id_5>"), std::nullopt);
  const Encoding e = loaded->encode("the<extra_id_1> news");
  EXPECT_EQ(e.input_ids.back(), 1);
  EXPECT_EQ(std::count(e.input_ids.begin(), e.input_ids.end(), last - 1), 1);
  EXPECT_LE(loaded->vocab_size(), 40);
  const Json config = parse_json(read_file(dir / "out" / "tokenizer_config.json"), "tokenizer_config.json");
  EXPECT_EQ(config.value("tokenizer_class", ""), "PreTrainedTokenizerFast");
  options.special_tokens = {"<pad>", "<unk>"};
  EXPECT_THROW(train_tokenizer({file}, options), Error);  // no end token
  options.type = "bpe";
  EXPECT_THROW(train_tokenizer({file}, options), Error);
}

INSTANTIATE_TEST_SUITE_P(All, TrainTokenizer, testing::Values("wordpiece", "bpe", "unigram"));

TEST_P(TrainTokenizer, DropsAByteOrderMark) {
  const test::TempDir dir;
  std::string text;
  for (int i = 0; i < 20; ++i) text += "alpha one\nalpha two\n";
  TrainTokenizerOptions options;
  options.type = GetParam();
  options.vocab_size = options.type == "bpe" ? 280 : 40;
  const auto bare = train_tokenizer({dir.write("bare.txt", text)}, options);
  const auto file = dir.write("marked.txt", "\xEF\xBB\xBF" + text);
  const auto marked = train_tokenizer({file}, options);
  bare->save(dir / "bare");
  marked->save(dir / "marked");
  EXPECT_EQ(read_file(dir / "marked/tokenizer.json"), read_file(dir / "bare/tokenizer.json"));
  EXPECT_EQ(tokenizer_stats(*marked, file).bytes, tokenizer_stats(*bare, dir / "bare.txt").bytes);
}

TEST_P(TrainTokenizer, WarnsOfAVocabularyThatMissesItsSize) {
  const test::TempDir dir;
  TrainTokenizerOptions options;
  options.type = GetParam();
  options.vocab_size = 5000;
  std::string warnings;
  const LogSink before = set_log_sink([&](LogLevel, const std::string& text) { warnings += text; });
  const auto tokenizer =
      train_tokenizer({dir.write("small.txt", "a few words\na few more words\n")}, options);
  set_log_sink(before);
  EXPECT_LT(tokenizer->vocab_size(), 5000);
  EXPECT_NE(warnings.find("not the 5000 asked for"), std::string::npos) << warnings;
}

TEST(TrainUnigram, LongRunsWithoutSpacesAreCut) {
  // Sentences of made-up two-character words, a thousand characters without a space.
  std::string text;
  uint32_t state = 1;
  for (int line = 0; line < 60; ++line) {
    for (int i = 0; i < 500; ++i) {
      state = state * 1664525 + 1013904223;
      const uint32_t word = state >> 23;  // one of 512, the first characters more often
      utf8::append(text, 0x4E00 + word % 64 * (word % 7) % 64);
      utf8::append(text, 0x5E00 + word % 97);
    }
    text += "\n";
  }
  const test::TempDir dir;
  TrainTokenizerOptions options;
  options.type = "unigram";
  options.vocab_size = 700;
  const auto file = dir.write("run.txt", text);
  const auto tokenizer = train_tokenizer({file}, options);
  EXPECT_EQ(tokenizer->vocab_size(), 700);
  const TokenizerStats stats = tokenizer_stats(*tokenizer, file);
  EXPECT_EQ(stats.unknown_tokens, 0);
  EXPECT_GT(stats.bytes_per_token(), 5.0);  // most words are one token
}

TEST(TrainTokenizerInput, ALineWithoutEndIsAnErrorThatNamesIt) {
  const test::TempDir dir;
  std::string text = "one\ntwo\n" + std::string((size_t{64} << 20) + 1, 'x') + "\n";
  const auto file = dir.write("long.txt", text);
  const std::string message = test::error_of([&] { train_tokenizer({file}, {}); });
  EXPECT_NE(message.find("long.txt: line 3: longer than 64 MiB"), std::string::npos) << message;
}

// The first `bytes` of a corpus, to a line's end, without the first `skip`.
std::string corpus_text(const std::filesystem::path& file, size_t skip, size_t bytes) {
  std::string text;
  FILE* pipe = popen(("xz -dc '" + file.string() + "'").c_str(), "r");
  std::vector<char> buffer(1 << 20);
  for (size_t n;
       pipe && text.size() < skip + bytes && (n = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    text.append(buffer.data(), n);
  if (pipe) pclose(pipe);
  text.resize(text.rfind('\n', std::min(text.size(), skip + bytes)) + 1);
  return text.substr(skip ? text.find('\n', skip) + 1 : 0);
}

// Sentencepiece as its trainer is called with `rules`, in bytes a token of held-out text.
double sentencepiece_bytes_per_token(const test::TempDir& dir, const std::filesystem::path& train,
                                     const std::filesystem::path& held_out, const std::string& rules) {
  const auto folder = dir / "theirs";
  std::filesystem::create_directories(folder);
  const std::string command = "spm_train --input=" + train.string() +
                              " --model_prefix=" + (folder / "spiece").string() +
                              " --vocab_size=8000 --character_coverage=1 --max_sentence_length=1000000 " +
                              rules + " > /dev/null 2>&1";
  EXPECT_EQ(std::system(command.c_str()), 0);
  return tokenizer_stats(*Tokenizer::from_pretrained(folder), held_out).bytes_per_token();
}

TEST(TrainUnigramSlow, FitsHeldOutTextAsWellAsSentencepiece) {
  GRAFT_SHARED_PATH(corpus, "data/corpora/en/imdb_reviews.txt.xz");
  if (std::system("spm_train --help > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "needs spm_train (sentencepiece)";
  const test::TempDir dir;
  const auto train = dir.write("train.txt", corpus_text(corpus, 0, 4 << 20));
  const auto held_out = dir.write("held_out.txt", corpus_text(corpus, 8 << 20, 1 << 20));
  TrainTokenizerOptions options;
  options.type = "unigram";
  options.vocab_size = 8000;
  const double ours = tokenizer_stats(*train_tokenizer({train}, options), held_out).bytes_per_token();
  // As the reference's trainer, ours lets a piece hold letters and punctuation ("film."); sentencepiece does
  // with these options.
  const double same_rules = sentencepiece_bytes_per_token(
      dir, train, held_out, "--split_by_unicode_script=false --split_by_number=false");
  EXPECT_NEAR(ours / same_rules, 1, 0.01) << ours << " against " << same_rules;
  // Without them it keeps them apart, which costs tokens.
  EXPECT_GE(ours, 0.99 * sentencepiece_bytes_per_token(dir, train, held_out, ""));
}

TEST(TrainTokenizer, SaysWhatIsWrong) {
  const test::TempDir dir;
  const auto file = dir.write("t.txt", "a b c d e f g h");
  TrainTokenizerOptions options;
  options.type = "wordpeace";
  EXPECT_THAT(test::error_of([&] { train_tokenizer({file}, options); }), testing::HasSubstr("wordpeace"));
  options.type = "wordpiece";
  options.vocab_size = 8;
  EXPECT_THAT(test::error_of([&] { train_tokenizer({file}, options); }), testing::HasSubstr("vocab_size 8"));
  EXPECT_THAT(test::error_of([&] { train_tokenizer({dir.write("empty.txt", "\n\n")}, options); }),
              testing::HasSubstr("empty.txt: no word in it"));
}

}  // namespace
}  // namespace graft::text
