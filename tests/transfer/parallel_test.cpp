// Parallel text: reading it, aligning its pieces, and a student that learns a second language from it.
#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/threads.h"
#include "models/model_case.h"
#include "support/messages.h"
#include "train/tiny_run.h"
#include "transfer/distill.h"
#include "transfer/word_alignment.h"

namespace graft::transfer {
namespace {
namespace fs = std::filesystem;

using test::error_of;
using test::Messages;
using test::TempDir;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(ParallelText, IsReadFromColumnsAndFromTwoFiles) {
  const TempDir dir;
  const std::string tsv = dir.write("a.tsv", "one\teins\n\tleer\ntwo\tzwei\n").string();
  const std::string files =
      dir.write("en.txt", "red\nblue\n").string() + "," + dir.write("de.txt", "rot\nblau\n").string();
  const ParallelText text = read_parallel({tsv, files});
  EXPECT_THAT(text.source, ElementsAre("one", "two", "red", "blue"));
  EXPECT_THAT(text.target, ElementsAre("eins", "zwei", "rot", "blau"));
  EXPECT_THAT(read_parallel({tsv, files}, 3).target, ElementsAre("eins", "zwei", "rot"));
}

TEST(ParallelText, LinesWithoutAPartnerAreNamed) {
  const TempDir dir;
  const std::string en = dir.write("en.txt", "red\nblue\ngreen\n").string(),
                    de = dir.write("de.txt", "rot\nblau\n").string(),
                    tsv = dir.write("a.tsv", "one\teins\ntwo\n").string(),
                    wide = dir.write("b.tsv", "one\teins\tune\n").string();
  EXPECT_THAT(error_of([&] { read_parallel({en + "," + de}); }),
              AllOf(HasSubstr("en.txt: line 3 has no partner"), HasSubstr("de.txt ends with line 2")));
  EXPECT_THAT(error_of([&] { read_parallel({de + "," + en}); }), HasSubstr("en.txt: line 3 has no partner"));
  EXPECT_THAT(error_of([&] { read_parallel({tsv}); }), HasSubstr("a.tsv: line 2: there is no tab"));
  EXPECT_THAT(error_of([&] { read_parallel({wide}); }), HasSubstr("more than one tab"));
  EXPECT_THAT(error_of([&] { read_parallel({tsv, tsv}); }), HasSubstr("given twice"));
  EXPECT_THAT(error_of([&] { read_parallel({en + "," + en}); }), HasSubstr("given twice"));
  // Two files of two columns are no two sides.
  const std::string columns = dir.write("c.tsv", "one\teins\n").string(),
                    others = dir.write("d.tsv", "red\trot\n").string();
  EXPECT_THAT(error_of([&] { read_parallel({columns + "," + others}); }),
              HasSubstr("line 1 of both has a tab"));
}

TEST(ParallelText, PairsThatSayNothingAreCounted) {
  const TempDir dir;
  const Messages messages;
  read_parallel({dir.write("a.tsv", "one\teins\n\tzwei\n three \t\n").string()});
  EXPECT_THAT(messages.all(), AllOf(HasSubstr("2 pairs with an empty side are left out (the first: "),
                                    HasSubstr("a.tsv: line 2)")));
  EXPECT_THAT(messages.all(), testing::Not(HasSubstr("script")));
  read_parallel({dir.write("c.tsv", "one\teins\ntwo\t\u0434\u0432\u0430\nred\trot\n").string()});
  EXPECT_THAT(messages.all(),
              HasSubstr("c.tsv: the second sentences: 1 of 3 rows are mostly in Cyrillic script"));
  read_parallel({dir.write("b.tsv", "one\tone\ntwo\ttwo\nred\trot\n").string()});
  EXPECT_THAT(messages.all(), HasSubstr("2 of 3 pairs have the same text on both sides"));
}

// English 0 1 2 stand for foreign 2 1 0; sentences have two or three of them in any order.
struct Sentences {
  PieceSentences english, foreign;
  Sentences() {
    for (const std::vector<int32_t>& s : std::vector<std::vector<int32_t>>{
             {0, 1}, {1, 2}, {2, 0}, {1, 0}, {0, 2}, {2, 1}, {0, 1, 2}, {0}, {1}}) {
      english.add(s, 48);
      std::vector<int32_t> other;
      for (const int32_t id : s) other.insert(other.begin(), 2 - id);
      foreign.add(other, 48);
    }
  }
};

TEST(WordAlignment, FindsWhichPiecesStandForWhich) {
  const Sentences s;
  const Translations t = align_pieces(s.english, 3, s.foreign, 4);
  ASSERT_EQ(t.size(), 4u);
  EXPECT_TRUE(t[3].empty());
  for (int32_t f = 0; f < 3; ++f) {
    double sum = 0;
    for (const auto& [e, p] : t[static_cast<size_t>(f)]) {
      sum += double{p};
      EXPECT_TRUE(e != 2 - f || p > 0.7F) << f << " " << p;
    }
    EXPECT_NEAR(sum, 1, 1e-5);
  }
}

// Against the formula itself, in double precision and with a table for everything.
TEST(WordAlignment, IsIbmModelOne) {
  const Sentences s;
  constexpr size_t kEnglish = 3, kForeign = 3, kNull = 3;
  double t[kForeign + 1][kEnglish];
  for (auto& row : t) std::fill(std::begin(row), std::end(row), 1.0 / kEnglish);
  for (int round = 0; round < 4; ++round) {
    double count[kForeign + 1][kEnglish] = {};
    for (size_t i = 0; i < static_cast<size_t>(s.english.size()); ++i)
      for (int64_t j = s.english.offsets[i]; j < s.english.offsets[i + 1]; ++j) {
        const auto e = static_cast<size_t>(s.english.ids[static_cast<size_t>(j)]);
        std::vector<size_t> from = {kNull};
        for (int64_t k = s.foreign.offsets[i]; k < s.foreign.offsets[i + 1]; ++k)
          from.push_back(static_cast<size_t>(s.foreign.ids[static_cast<size_t>(k)]));
        double sum = 0;
        for (const size_t f : from) sum += t[f][e];
        for (const size_t f : from) count[f][e] += t[f][e] / sum;
      }
    for (size_t f = 0; f <= kForeign; ++f) {
      const double all = count[f][0] + count[f][1] + count[f][2];
      for (size_t e = 0; e < kEnglish; ++e) t[f][e] = count[f][e] / all;
    }
  }
  const Translations found = align_pieces(s.english, kEnglish, s.foreign, kForeign);
  for (size_t f = 0; f < kForeign; ++f)
    for (const auto& [e, p] : found[f]) EXPECT_NEAR(p, t[f][static_cast<size_t>(e)], 1e-5) << f << " " << e;
}

TEST(WordAlignment, IsTheSameForAnyNumberOfThreads) {
  PieceSentences english, foreign;
  uint32_t x = 1;
  const auto draw = [&x](uint32_t n) {
    return static_cast<int32_t>((x = x * 1664525 + 1013904223) >> 8) % static_cast<int32_t>(n);
  };
  for (int i = 0; i < 700; ++i) {
    std::vector<int32_t> a, b;
    for (int j = 0; j < 5 + i % 9; ++j) a.push_back(draw(90)), b.push_back(draw(150));
    english.add(a, 48);
    foreign.add(b, 48);
  }
  const int before = num_threads();
  set_num_threads(1);
  const Translations one = align_pieces(english, 90, foreign, 150);
  set_num_threads(3);
  EXPECT_EQ(one, align_pieces(english, 90, foreign, 150));
  set_num_threads(before);
}

// A text in Cyrillic letters, of which the teacher has no pieces.
std::string in_cyrillic(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c < 'a' || c > 'z') {
      out += c;
      continue;
    }
    const int letter = 0x430 + (c - 'a');
    out += static_cast<char>(0xC0 | (letter >> 6));
    out += static_cast<char>(0x80 | (letter & 0x3F));
  }
  return out;
}

// Sentences of the tiny vocabulary, and the same ones in another script.
class ParallelDistillation : public testing::Test {
 protected:
  void SetUp() override {
    const Model model = run_.model("sentence-embedding", {});
    model.save_pretrained(run_ / "teacher");
    run_.tokenizer()->save(run_ / "teacher");
    std::string rows;
    const Dataset sentences = Dataset::from_file(run_.single_csv("source.csv", 400, 3));
    for (const Example& e : sentences.examples()) rows += e.text + "\t" + in_cyrillic(e.text) + "\n";
    options_.parallel = {run_.dir().write("pairs.tsv", rows).string()};
    options_.teacher = run_ / "teacher";
    options_.add_pieces = 150;
    options_.arguments = run_.arguments();
    options_.arguments.disable_tqdm = true;
    options_.arguments.num_train_epochs = 3;
  }
  std::vector<DistillRow> train(bool align, const std::string& name) {
    options_.align = align;
    options_.arguments.output_dir = run_ / name;
    Distiller distiller(options_);
    distiller.trainer().train();
    return distiller.compare();
  }
  test::TinyRun run_;
  DistillOptions options_;
};

// The cosine of the rows of two pieces in two folders.
double cosine_of_pieces(const fs::path& a, const std::string& x, const fs::path& b, const std::string& y) {
  const auto row = [](const fs::path& folder, const std::string& piece) {
    const Model model = test::load_model(folder);
    const engine::Parameter& words = *model.state().network.encoder->word_embeddings();
    const engine::HostRead values = model.state().parameters.read_value(words);
    const float* from =
        values.data() + Tokenizer::from_pretrained(folder)->token_to_id(piece).value() * words.cols();
    return std::vector<float>(from, from + words.cols());
  };
  const std::vector<float> u = row(a, x), v = row(b, y);
  double uv = 0;
  for (size_t i = 0; i < u.size(); ++i) uv += double{u[i]} * v[i];
  return uv / (test::l2_norm(u) * test::l2_norm(v));
}

TEST_F(ParallelDistillation, AlignedPiecesStartWhereTheirTranslationsAre) {
  train(true, "aligned");
  for (const char* word : {"red", "blue", "green"})
    EXPECT_GT(cosine_of_pieces(run_ / "aligned" / "start", in_cyrillic(word), run_ / "teacher", word), 0.9)
        << word;
  train(false, "plain");
  EXPECT_LT(cosine_of_pieces(run_ / "plain" / "start", in_cyrillic("red"), run_ / "teacher", "red"), 0.8);
}

TEST_F(ParallelDistillation, TheStudentLearnsTheOtherSide) {
  const std::vector<DistillRow> rows = train(true, "student");
  EXPECT_GT(rows[2].likeness, rows[1].likeness);
  EXPECT_GT(rows[2].likeness, rows[0].likeness);  // the teacher reads unknown tokens
  const auto has_unknown = [&](const char* folder) {
    const auto tokenizer = Tokenizer::from_pretrained(run_ / folder);
    const auto ids = tokenizer->encode(in_cyrillic("red green")).input_ids;
    return std::find(ids.begin(), ids.end(), *tokenizer->special_id("unk_token")) != ids.end();
  };
  EXPECT_TRUE(has_unknown("teacher"));
  EXPECT_FALSE(has_unknown("student"));
}

TEST_F(ParallelDistillation, NewPiecesComeFromTheFileThatIsNamed) {
  options_.pieces_file = {run_.dir().write("more.txt", "\xD1\x8D\xD1\x8D \xD1\x8E\xD1\x8E\n")};
  train(true, "student");
  const auto tokenizer = Tokenizer::from_pretrained(run_ / "student");
  EXPECT_TRUE(tokenizer->token_to_id("\xD1\x8D\xD1\x8D"));
  EXPECT_FALSE(tokenizer->token_to_id(in_cyrillic("red")));
}

TEST_F(ParallelDistillation, OptionsThatNeedEachOther) {
  const auto complaint = [&] {
    options_.arguments.output_dir = run_ / "out";
    return error_of([&] { Distiller d(options_); });
  };
  options_.parallel.clear();
  EXPECT_THAT(complaint(), HasSubstr("--train_file is needed"));
  options_.train_file = {run_ / "source.csv"};
  EXPECT_THAT(complaint(), HasSubstr("--add_pieces needs --parallel"));
  options_.add_pieces = 0;
  options_.align = true;
  options_.layers = "1";
  EXPECT_THAT(complaint(), HasSubstr("--align needs --add_pieces"));
  options_.align = false;
  options_.pieces_file = {run_ / "source.csv"};
  EXPECT_THAT(complaint(), HasSubstr("--pieces_file needs --add_pieces"));
}

}  // namespace
}  // namespace graft::transfer
