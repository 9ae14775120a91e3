#include "transfer/duplicates.h"

#include "base/philox.h"
#include "support/shared.h"
#include "transfer/words.h"

namespace graft::transfer {
namespace {

using test::TempDir;

std::string words(int n, uint64_t seed) {
  PhiloxStream random(philox_key(seed, 0, "words"));
  std::string text;
  for (int i = 0; i < n; ++i) text += "w" + std::to_string(random.below(5000)) + " ";
  return text;
}

// Kinds of all texts, each added where it is none.
std::vector<Duplicate> kinds_of(const std::vector<std::string>& texts, double threshold) {
  TempDir dir;
  LineFile file(dir / "texts");
  DuplicateFinder finder(file, 1000, threshold);
  std::vector<Duplicate> out;
  std::vector<uint64_t> hashes;
  for (const std::string& text : texts) {
    word_hashes(text, hashes);
    out.push_back(finder.find(text, hashes));
    if (out.back() == Duplicate::none) finder.add(file.append(text));
  }
  return out;
}

TEST(Duplicates, JaccardOfRunsOfFiveWords) {
  EXPECT_DOUBLE_EQ(jaccard("a b c d e f", "A, b; c D e -- f!"), 1);
  EXPECT_DOUBLE_EQ(jaccard("a b c d e f", "a b c d e g"), 1.0 / 3);
  EXPECT_DOUBLE_EQ(jaccard("a b c d e f", "x a b c d y"), 0);
  EXPECT_DOUBLE_EQ(jaccard("too short", "Too short."), 1);
}

TEST(Duplicates, CharactersOfScriptsWithoutSpacesAreWords) {
  std::vector<uint64_t> hashes;
  word_hashes("\u4E2D\u6587 Stra\u00DFe \u0416\u0430", hashes);
  EXPECT_EQ(hashes.size(), 4u);
  std::vector<uint64_t> lower;
  word_hashes("\u4E2D\u6587, stra\u00DFe \u0436\u0430", lower);
  EXPECT_EQ(hashes, lower);
}

TEST(Duplicates, ExactAndNearOnesAreFoundAndOthersKept) {
  const std::string a = words(100, 1), b = words(100, 2);
  const auto kinds = kinds_of({a, b, a, a + "tail", "other " + b, words(100, 3)}, 0.8);
  EXPECT_THAT(kinds, testing::ElementsAre(Duplicate::none, Duplicate::none, Duplicate::exact, Duplicate::near,
                                          Duplicate::near, Duplicate::none));
  EXPECT_EQ(kinds_of({a, a + "tail"}, 1.5).back(), Duplicate::none);
}

// 95 of 100 pairs with similarity 0.9 must be found; the banding finds 99.9 %. None with 0.6 may be.
TEST(Duplicates, TheThresholdSeparates) {
  int found = 0, wrong = 0;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    const std::string text = words(200, seed);
    found += kinds_of({text, text + words(16, 1000 + seed)}, 0.8).back() == Duplicate::near;
    wrong += kinds_of({text, text + words(130, 2000 + seed)}, 0.8).back() == Duplicate::near;
  }
  EXPECT_GE(found, 95);
  EXPECT_EQ(wrong, 0);
}

TEST(Duplicates, MemoryDoesNotGrowWithTheTexts) {
  TempDir dir;
  LineFile file(dir / "texts");
  DuplicateFinder small(file, 1000, 0.8), large(file, uint64_t{1} << 45, 0.8);
  EXPECT_LE(small.memory(), 1u << 20);
  EXPECT_LE(large.memory(), uint64_t{400} << 20);
}

TEST(LineFile, ReadsWhatWasFlushedAndWhatWasNot) {
  TempDir dir;
  LineFile file(dir / "lines");
  std::vector<uint64_t> at;
  for (int i = 0; i < 300; ++i) at.push_back(file.append(words(1000, static_cast<uint64_t>(i))));
  for (int i = 0; i < 300; i += 13)
    EXPECT_EQ(file.read(at[static_cast<size_t>(i)]), words(1000, static_cast<uint64_t>(i)));
  EXPECT_EQ(file.read(at.back()), words(1000, 299));
}

}  // namespace
}  // namespace graft::transfer
