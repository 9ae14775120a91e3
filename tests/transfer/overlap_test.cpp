#include "transfer/overlap.h"

#include "support/shared.h"
#include "transfer/words.h"

namespace graft::transfer {
namespace {

bool found(TestTexts& tests, const std::string& line) {
  std::vector<uint64_t> words;
  word_hashes(line, words);
  return tests.look_in(line, words, "corpus.txt", 7);
}

TEST(Overlap, RunsOfLongTextsAndWholeShortOnes) {
  TestTexts tests;
  tests.add_text("the quick brown fox jumps over the lazy dog and runs away", "test.csv: line 1");
  tests.add_text("a charming little film", "test.csv: line 2");
  tests.add_text("good film", "test.csv: line 3");
  EXPECT_TRUE(found(tests, "He said: The quick brown FOX jumps over the lazy cat."));  // a run of eight
  EXPECT_FALSE(found(tests, "the quick brown fox jumps over a lazy dog and runs off"));
  EXPECT_TRUE(found(tests, "It is a charming, little film!"));
  EXPECT_FALSE(found(tests, "a charming little movie, a good film"));
  const OverlapReport& r = tests.report();
  EXPECT_EQ(r.test_texts, 2);
  EXPECT_EQ(r.short_texts, 1);
  EXPECT_EQ(r.found_texts, 2);
  EXPECT_EQ(r.corpus_lines, 2);
  ASSERT_EQ(r.examples.size(), 2u);
  EXPECT_EQ(r.examples[0].corpus_place, "corpus.txt: line 7");
  EXPECT_EQ(r.examples[1].test_place, "test.csv: line 2");
}

TEST(Overlap, ReadsRowsAndConll) {
  test::TempDir dir;
  TestTexts tests;
  tests.add_file(dir.write("t.csv", "text,label\nsome words of a row here,pos\n"), {});
  tests.add_file(dir.write("t.conll", "Acute\tB-D\nrenal\tI-D\nfailure\tI-D\nwas\tO\nseen\tO\n\n"), {});
  EXPECT_EQ(tests.report().test_texts, 2);
  EXPECT_TRUE(found(tests, "that acute renal failure was seen in"));
}

}  // namespace
}  // namespace graft::transfer
