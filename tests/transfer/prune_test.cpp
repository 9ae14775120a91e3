#include "transfer/prune.h"

#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "graft/embedder.h"
#include "models/model_case.h"
#include "models/selection.h"
#include "transfer/vocabulary_choice.h"

namespace graft::transfer {
namespace {
namespace fs = std::filesystem;

using test::error_of;
using test::TempDir;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> lines_of_file(const fs::path& file) {
  std::ifstream in(file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> pieces_of(const Tokenizer& tokenizer, const std::string& text) {
  return tokenizer.tokens(tokenizer.encode(text));
}

TEST(Layers, AreNamedOrEvenlySpread) {
  EXPECT_THAT(parse_layers("0,2,5", 6), ElementsAre(0, 2, 5));
  EXPECT_THAT(parse_layers("6", 12), ElementsAre(0, 2, 4, 7, 9, 11));  // DistilBERT's
  EXPECT_THAT(parse_layers("1", 6), ElementsAre(0));
  EXPECT_THAT(parse_layers("6", 6), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(error_of([] { parse_layers("7", 6); }), HasSubstr("the model has 6 layers"));
  EXPECT_THAT(error_of([] { parse_layers("0", 6); }), HasSubstr("from 1 to 6"));
  EXPECT_THAT(error_of([] { parse_layers("0,6", 6); }), HasSubstr("0 to 5"));
  EXPECT_THAT(error_of([] { parse_layers("2,2", 6); }), HasSubstr("ascending"));
  EXPECT_THAT(error_of([] { parse_layers("a", 6); }), HasSubstr("layers"));
}

// One text of every kind of tokenizer keeps its pieces; other texts still have no unknown tokens.
class VocabularyTest : public testing::TestWithParam<const char*> {};

TEST_P(VocabularyTest, TextsWhosePiecesStayAreCutAsBefore) {
  GRAFT_SHARED_PATH(folder, std::string("data/tokenizers/") + GetParam());
  GRAFT_SHARED_PATH(texts, "data/tokenizers/texts.txt");
  const auto before = Tokenizer::from_pretrained(folder);
  const TempDir dir;
  const std::vector<std::string> lines = lines_of_file(texts);
  ASSERT_GT(lines.size(), 20u);
  std::string some;
  for (size_t i = 0; i < lines.size(); i += 3) some += lines[i] + "\n";
  PruneOptions options;
  options.vocabulary = {dir.write("some.txt", some)};
  before->save(dir / "smaller");
  text::VocabularyFiles files(dir / "smaller");
  const VocabularyChoice choice =
      choose_vocabulary(files, count_pieces(*before, options, false), {}, options);
  EXPECT_EQ(choice.kept_tokens, choice.tokens);
  EXPECT_LT(std::ssize(choice.ids), before->vocab_size());
  files.keep(choice.ids);
  const auto after = Tokenizer::from_pretrained(dir / "smaller");
  EXPECT_EQ(after->vocab_size(), std::ssize(choice.ids));
  for (const char* role : {"cls_token", "sep_token", "pad_token", "mask_token", "unk_token", "eos_token"}) {
    const auto id = before->special_id(role);
    ASSERT_EQ(id.has_value(), after->special_id(role).has_value()) << role;
    if (!id) continue;
    EXPECT_EQ(choice.ids[static_cast<size_t>(*after->special_id(role))], *id) << role;
  }
  int64_t others = 0;
  for (size_t i = 0; i < lines.size(); ++i) {
    const Encoding old = before->encode(lines[i]), now = after->encode(lines[i]);
    const bool stay = std::all_of(old.input_ids.begin(), old.input_ids.end(), [&](int32_t id) {
      return std::binary_search(choice.ids.begin(), choice.ids.end(), id);
    });
    EXPECT_TRUE(stay || i % 3 != 0) << lines[i];
    if (!stay) {
      ++others;
      continue;
    }
    EXPECT_EQ(pieces_of(*before, lines[i]), pieces_of(*after, lines[i]));
    EXPECT_EQ(old.offsets, now.offsets);
    std::vector<int32_t> as_before;
    for (const int32_t id : now.input_ids) as_before.push_back(choice.ids[static_cast<size_t>(id)]);
    EXPECT_EQ(as_before, old.input_ids);
  }
  EXPECT_GT(others, 0);
}

INSTANTIATE_TEST_SUITE_P(Kinds, VocabularyTest,
                         testing::Values("small-bert-uncased", "small-bert-cased", "small-gpt2",
                                         "small-roberta", "small-t5", "small-xlm-roberta", "small-llama",
                                         "small-modernbert"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(Vocabulary, TheLegacyFilesSayTheSame) {
  GRAFT_SHARED_PATH(folder, "data/tokenizers/small-bert-uncased");
  const TempDir dir;
  PruneOptions options;
  options.vocabulary = {dir.write("some.txt", "the quick brown fox\n")};
  const auto before = Tokenizer::from_pretrained(folder);
  before->save(dir / "smaller");
  text::VocabularyFiles files(dir / "smaller");
  files.keep(choose_vocabulary(files, count_pieces(*before, options, false), {}, options).ids);
  const auto from_json = Tokenizer::from_pretrained(dir / "smaller");
  fs::remove(dir / "smaller" / "tokenizer.json");
  const auto from_txt = Tokenizer::from_pretrained(dir / "smaller");
  for (const char* text : {"The quick brown fox", "unusual words, too"})
    EXPECT_EQ(from_json->encode(text).input_ids, from_txt->encode(text).input_ids);
}

TEST(Vocabulary, ASizeKeepsTheMostFrequentPieces) {
  GRAFT_SHARED_PATH(folder, "data/tokenizers/small-gpt2");
  const TempDir dir;
  const auto tokenizer = Tokenizer::from_pretrained(folder);
  tokenizer->save(dir / "copy");
  PruneOptions options;
  GRAFT_SHARED_PATH(texts, "data/tokenizers/texts.txt");
  options.vocabulary = {texts};
  const std::vector<int64_t> counts = count_pieces(*tokenizer, options, false);
  const text::VocabularyFiles files(dir / "copy");
  const auto required = std::count(files.required().begin(), files.required().end(), true);
  options.vocabulary_size = required + 20;
  const VocabularyChoice choice = choose_vocabulary(files, counts, {}, options);
  EXPECT_LE(std::ssize(choice.ids), options.vocabulary_size);
  EXPECT_GT(std::ssize(choice.ids), required);
  EXPECT_LT(choice.kept_tokens, choice.tokens);
  options.vocabulary_size = required - 1;
  EXPECT_THAT(error_of([&] { choose_vocabulary(files, counts, {}, options); }), HasSubstr("is too small"));
  options.vocabulary_size = 0;
  options.min_count = 1000000;
  EXPECT_THAT(error_of([&] { choose_vocabulary(files, counts, {}, options); }), HasSubstr("--min_count"));
  options.min_count = 1;
  EXPECT_THAT(error_of([&] { choose_vocabulary(files, std::vector<int64_t>(counts.size()), {}, options); }),
              HasSubstr("no text"));
}

// Every family: the model of the layers that stay computes what these layers computed.
class SelectionTest : public testing::TestWithParam<const char*> {};

TEST_P(SelectionTest, AllLayersAndRowsGiveTheSameBits) {
  const fs::path folder = test::fixture_folder(GetParam());
  if (!fs::exists(folder)) GTEST_SKIP() << "needs " << GetParam();
  const Model model = test::load_model(folder);
  const test::RandomFeatures features(model, 4, 12);
  const data::RaggedBatch batch = features.batch(4);
  models::Selection all;
  for (int64_t i = 0; i < models::num_layers(model.state()); ++i) all.layers.push_back(i);
  for (int64_t i = 0; i < models::num_decoder_layers(model.state()); ++i) all.decoder_layers.push_back(i);
  const auto rows = static_cast<int32_t>(model.state().network.encoder->word_embeddings()->rows());
  for (int32_t i = 0; i < rows; ++i) all.rows.push_back(i);
  const Model same = models::select_parts(model, all);
  EXPECT_TRUE(test::same_bits(test::all_values(model), test::all_values(same)));
  EXPECT_TRUE(test::same_bits(test::logits_of(model, batch), test::logits_of(same, batch)));
}

TEST_P(SelectionTest, FewerLayersAndRowsAreLoadedFromTheirFolder) {
  const fs::path folder = test::fixture_folder(GetParam());
  if (!fs::exists(folder)) GTEST_SKIP() << "needs " << GetParam();
  const Model model = test::load_model(folder);
  models::Selection part;
  part.layers = {0};
  if (models::num_decoder_layers(model.state()) > 0) part.decoder_layers = {0};
  part.rows = models::fixed_ids(model.state());
  for (int32_t id = 20; id < 60; ++id)
    if (!std::binary_search(part.rows.begin(), part.rows.end(), id)) part.rows.push_back(id);
  std::sort(part.rows.begin(), part.rows.end());
  const Model smaller = models::select_parts(model, part);
  EXPECT_EQ(models::num_layers(smaller.state()), 1);
  const TempDir dir;
  smaller.save_pretrained(dir / "smaller");
  const Model again = test::load_model(dir / "smaller");
  EXPECT_TRUE(test::same_bits(test::all_values(smaller), test::all_values(again)));
  EXPECT_TRUE(again.load_report().missing.empty());
  EXPECT_TRUE(again.load_report().unexpected.empty());
}

INSTANTIATE_TEST_SUITE_P(Families, SelectionTest,
                         testing::Values("bert/seqcls_single", "bert/mlm", "roberta/mlm", "distilbert/mlm",
                                         "electra/mlm", "xlm-roberta/seqcls_single", "mpnet/seqcls_single",
                                         "gpt2/causal_lm", "t5/seq2seq", "modernbert/seqcls_mean",
                                         "albert/seqcls_single"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name)
                             if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
                           return name;
                         });

// An id that config.json leaves to the reference's config class is renumbered with its row, and written.
TEST(Selection, IdsThatTheConfigClassHasAreWritten) {
  const Model model = test::load_model(test::fixture_folder("albert/seqcls_single"));
  Json& config = model.state().config.json();
  config.erase("eos_token_id");
  EXPECT_THAT(models::fixed_ids(model.state()), Contains(3));
  const Model smaller = models::select_parts(model, {{}, {}, {0, 3, 7}});
  EXPECT_EQ(smaller.state().config.json().at("eos_token_id"), 1);
  EXPECT_FALSE(config.contains("eos_token_id"));
}

// The hidden states of the lower layers are those of a model that ends there.
TEST(Selection, TheLowestLayersComputeWhatTheyDid) {
  const Model model = test::load_model(test::fixture_folder("bert/seqcls_single"));
  const Model lower = models::select_parts(model, {{0}, {}, {}});
  const data::RaggedBatch batch = test::RandomFeatures(model, 3, 9).batch(3);
  const auto hidden = [&](const Model& m, size_t layer) {
    engine::Arena arena(engine::ArenaSize{1 << 24, 1 << 24});
    engine::Tape tape(arena, m.state().parameters, {});
    const models::Forward out =
        m.state().network.forward(tape, batch, {.hidden_states = true, .logits = false, .every_row = true});
    const engine::Tensor t = tape.on_host(out.hidden_states[layer]->data);
    return std::vector<float>(t.f32(), t.f32() + t.size());
  };
  EXPECT_TRUE(test::same_bits(hidden(model, 1), hidden(lower, 1)));
}

TEST(Selection, ModernBertKeepsItsFirstLayer) {
  const fs::path folder = test::fixture_folder("modernbert/seqcls_mean");
  if (!fs::exists(folder)) GTEST_SKIP();
  const Model model = test::load_model(folder);
  const int64_t last = models::num_layers(model.state()) - 1;
  EXPECT_THAT(error_of([&] { models::select_parts(model, {{last}, {}, {}}); }), HasSubstr("keep layer 0"));
  EXPECT_THAT(error_of([&] { models::select_parts(model, {{0, 9}, {}, {}}); }), HasSubstr("no layer 9"));
}

TEST(Prune, TheRealEncoderKeepsItsEmbeddingsOfTextsWhosePiecesStay) {
  GRAFT_REAL_CHECKPOINT(checkpoint);
  const TempDir dir;
  PruneOptions options;
  options.model = checkpoint;
  options.vocabulary = {
      dir.write("texts.txt", "A man is eating food.\nThe girl carries a baby, unbelievably.\n")};
  options.output_dir = dir / "small";
  const PruneReport report = prune(options);
  EXPECT_EQ(report.before.vocabulary, 30522);
  EXPECT_LT(report.after.vocabulary, 4000);
  EXPECT_EQ(report.after.layers, 6);
  EXPECT_LT(report.after.bytes, report.before.bytes);
  EXPECT_EQ(report.kept_tokens, 1);
  const Embedder before(checkpoint, {}), after(options.output_dir, {});
  const std::vector<std::string> texts = {"A man is eating food.", "The girl carries a baby, unbelievably."};
  EXPECT_TRUE(test::same_bits(before.embed(texts), after.embed(texts)));
  EXPECT_EQ(after.max_seq_length(), before.max_seq_length());
  options.layers = "3";
  options.output_dir = dir / "smaller";
  EXPECT_EQ(prune(options).after.layers, 3);
  EXPECT_EQ(Embedder(options.output_dir, {}).embed(texts).size(), 2u * 384);
}

TEST(Prune, RefusesWhatNamesNothing) {
  const TempDir dir;
  PruneOptions options;
  options.model = test::fixture_folder("bert/mlm");
  options.output_dir = dir / "out";
  EXPECT_THAT(error_of([&] { prune(options); }), HasSubstr("nothing to prune"));
  options.vocabulary_size = 100;
  options.layers = "1";
  EXPECT_THAT(error_of([&] { prune(options); }), HasSubstr("needs --vocabulary"));
  options.vocabulary_size = 0;
  options.columns.text_column = "text";
  EXPECT_THAT(error_of([&] { prune(options); }), HasSubstr("--text_column needs --vocabulary"));
}

}  // namespace
}  // namespace graft::transfer
