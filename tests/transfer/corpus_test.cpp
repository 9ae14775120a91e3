#include "transfer/corpus.h"

#include <fstream>
#include <set>

#include "base/file.h"
#include "base/folder.h"
#include "support/shared.h"

namespace graft::transfer {
namespace {

using test::error_of;
using test::TempDir;
using testing::AllOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

std::vector<std::string> lines_of(const fs::path& file) {
  std::vector<std::string> out;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}

std::string numbered(const std::string& word, int n) {
  std::string text;
  for (int i = 0; i < n; ++i) text += word + " number " + std::to_string(i) + " of this text\n";
  return text;
}

TEST(Corpus, AShareIsHeldOutByContent) {
  TempDir dir;
  CorpusOptions o;
  o.files = {dir.write("a.txt", numbered("a", 300)), dir.write("b.txt", numbered("b", 100))};
  const CorpusReport r = prepare_corpus(o, dir / "one");
  EXPECT_EQ(r.texts + r.held_out_texts, 400);
  EXPECT_NEAR(static_cast<double>(r.held_out_texts), 20, 12);
  std::swap(o.files[0], o.files[1]);  // the order of the files does not decide
  prepare_corpus(o, dir / "two");
  const auto as_set = [](const std::vector<std::string>& v) {
    return std::set<std::string>(v.begin(), v.end());
  };
  EXPECT_EQ(as_set(lines_of(dir / "one/held_out.txt")), as_set(lines_of(dir / "two/held_out.txt")));
  o.seed = 7;
  prepare_corpus(o, dir / "three");
  EXPECT_NE(as_set(lines_of(dir / "one/held_out.txt")), as_set(lines_of(dir / "three/held_out.txt")));
  for (const fs::path& file : list_folder(dir / "one")) EXPECT_FALSE(file.string().ends_with(".tmp")) << file;
}

TEST(Corpus, DuplicatesJunkAndTestTextsAreCounted) {
  TempDir dir;
  CorpusOptions o;
  const std::string row = "this is one row of the test set that must not be trained on";
  o.files = {dir.write("a.txt", numbered("a", 100) + "\n" + row + "\n" + numbered("a", 50) + "bad \xFF\n")};
  o.exclude_files = {
      dir.write("test.csv", "text,label\n" + row + ",1\nanother row that occurs nowhere at all,0\n")};
  o.near_duplicates = 2;
  CorpusReport r = prepare_corpus(o, dir / "one");
  EXPECT_EQ(r.exact_duplicates, 50);
  EXPECT_EQ(r.source.junk_lines, 1);
  EXPECT_EQ(r.source.empty_lines, 1);
  EXPECT_EQ(r.overlap.found_texts, 1);
  EXPECT_EQ(r.overlap.corpus_lines, 1);
  EXPECT_EQ(r.texts + r.held_out_texts, 101);
  EXPECT_EQ(to_json(corpus_report(to_json(r))).dump(), to_json(r).dump());
  o.remove_overlap = true;
  r = prepare_corpus(o, dir / "two");
  EXPECT_EQ(r.overlap.corpus_lines, 1);
  EXPECT_EQ(r.texts + r.held_out_texts, 100);
  o.remove_duplicates = false;
  EXPECT_EQ(prepare_corpus(o, dir / "three").exact_duplicates, 0);
}

TEST(Corpus, ReplayIsMixedInAtItsShare) {
  TempDir dir;
  CorpusOptions o;
  o.files = {dir.write("a.txt", numbered("a", 900))};
  o.replay_files = {dir.write("g.txt", numbered("general", 900))};
  o.replay_ratio = 0.2;
  o.near_duplicates = 2;
  const CorpusReport r = prepare_corpus(o, dir / "one");
  EXPECT_NEAR(static_cast<double>(r.replay_bytes) / static_cast<double>(r.replay_bytes + r.bytes), 0.2, 0.05);
  const std::vector<std::string> train = lines_of(dir / "one/train.txt");
  EXPECT_EQ(static_cast<int64_t>(train.size()), r.texts + r.replay_texts);
  int64_t first_half = 0;  // spread over the text, not appended
  for (size_t i = 0; i < train.size() / 2; ++i) first_half += train[i].starts_with("general");
  EXPECT_NEAR(static_cast<double>(first_half), static_cast<double>(r.replay_texts) / 2, 10);
  const std::vector<std::string> held = lines_of(dir / "one/general_held_out.txt");
  EXPECT_GT(held.size(), 0u);
  for (const std::string& line : held) EXPECT_EQ(std::count(train.begin(), train.end(), line), 0) << line;
  prepare_corpus(o, dir / "two");
  EXPECT_EQ(read_file(dir / "one/train.txt"), read_file(dir / "two/train.txt"));
}

TEST(Corpus, IsCutToASize) {
  TempDir dir;
  CorpusOptions o;
  o.files = {dir.write("a.txt", numbered("a", 2000))};
  o.near_duplicates = 2;
  o.max_bytes = 20000;
  EXPECT_NEAR(static_cast<double>(prepare_corpus(o, dir / "one").bytes), 20000, 3000);
}

TEST(Corpus, TooLittleTextIsRefused) {
  TempDir dir;
  CorpusOptions o;
  o.files = {dir.write("a.txt", "\n \n")};
  EXPECT_THAT(error_of([&] { prepare_corpus(o, dir / "x"); }),
              AllOf(HasSubstr("a.txt: no text is left after 2 lines (2 empty"), HasSubstr("give more text")));
  o.files = {dir.write("b.txt", "only one line\nonly one line\n")};
  EXPECT_THAT(error_of([&] { prepare_corpus(o, dir / "x"); }),
              AllOf(HasSubstr("b.txt: one text alone is left after 2 lines"), HasSubstr("1 duplicates")));
  o.held_out_files = {dir.write("h.txt", "something else\n")};
  EXPECT_EQ(prepare_corpus(o, dir / "x").texts, 1);
  o.files = {dir.write("c.txt", "")};
  EXPECT_THAT(error_of([&] { prepare_corpus(o, dir / "x"); }), HasSubstr("no text is left after 0 lines"));
}

TEST(Corpus, TwoTextsAreOneOfEach) {
  TempDir dir;
  CorpusOptions o;
  o.files = {dir.write("a.txt", "first text\nsecond text\n")};
  const CorpusReport r = prepare_corpus(o, dir / "x");
  EXPECT_EQ(r.texts, 1);
  EXPECT_EQ(r.held_out_texts, 1);
}

}  // namespace
}  // namespace graft::transfer
