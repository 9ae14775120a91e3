// Patterns that match nothing (the empty string, look-around): they split as in tokenizers 0.23.3.
#include "text/pattern.h"

#include <gmock/gmock.h>

#include "support_json.h"
#include "text/pre_tokenizer.h"

namespace graft::text {
namespace {

using testing::ElementsAre;
using Words = std::vector<std::string>;

Words split(const std::string& regex, const char* behavior, bool invert, const char* kind = "Regex") {
  const Json block = {
      {"type", "Split"}, {"pattern", {{kind, regex}}}, {"behavior", behavior}, {"invert", invert}};
  PreTokenized t;
  t.text.assign("abxxc D bE", 0);
  t.words = {{0, static_cast<int32_t>(t.text.text.size())}};
  make_pre_tokenizer(block, "test")->pre_tokenize(t);
  Words words;
  for (const Span& w : t.words) words.push_back(t.text.text.substr(w.begin, w.end - w.begin));
  return words;
}

TEST(EmptyMatch, SplitsBetweenCharacters) {
  const Words characters = {"a", "b", "x", "x", "c", " ", "D", " ", "b", "E"};
  for (const char* behavior : {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"}) {
    EXPECT_EQ(split("", behavior, false), characters) << behavior;
    EXPECT_EQ(split("", behavior, false, "String"), characters) << behavior;
    EXPECT_THAT(split("(?<=b)", behavior, false), ElementsAre("ab", "xxc D b", "E")) << behavior;
    EXPECT_THAT(split("(?=[A-Z])", behavior, false), ElementsAre("abxxc ", "D b", "E")) << behavior;
    EXPECT_THAT(split("\\b", behavior, false), ElementsAre("abxxc", " ", "D", " ", "bE")) << behavior;
  }
  EXPECT_THAT(split("", "Removed", true), ElementsAre());
  EXPECT_EQ(split("", "Isolated", true), characters);
}

TEST(EmptyMatch, BesideMatchesThatAreNotEmpty) {
  const auto x = [](const char* behavior, bool invert = false) { return split("x*", behavior, invert); };
  EXPECT_THAT(x("Removed"), ElementsAre("a", "b", "c", " ", "D", " ", "b", "E"));
  EXPECT_THAT(x("Removed", true), ElementsAre("xx"));
  EXPECT_THAT(x("Isolated"), ElementsAre("a", "b", "xx", "c", " ", "D", " ", "b", "E"));
  EXPECT_THAT(x("Contiguous"), ElementsAre("a", "b", "xx", "c", " ", "D", " ", "b", "E"));
  EXPECT_THAT(x("MergedWithPrevious"), ElementsAre("a", "bxx", "c", " ", "D", " ", "b", "E"));
  EXPECT_THAT(x("MergedWithPrevious", true), ElementsAre("a", "b", "xxc", " ", "D", " ", "b", "E"));
  EXPECT_THAT(x("MergedWithNext"), ElementsAre("a", "b", "xxc", " ", "D", " ", "b", "E"));
  EXPECT_THAT(x("MergedWithNext", true), ElementsAre("a", "bxx", "c", " ", "D", " ", "b", "E"));
}

TEST(EmptyMatch, ReplaceInserts) {
  SmallTokenizer t;
  t.pre_tokenizer =
      R"({"type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated", "invert": false})";
  const auto with = [&](const std::string& regex) {
    t.normalizer = R"({"type": "Replace", "pattern": {"Regex": ")" + regex + R"("}, "content": "-"})";
    return t.make();
  };
  EXPECT_EQ(with("")->normalize("abc"), "-a-b-c-");
  EXPECT_EQ(with("x*")->normalize("abxxc D"), "-a-b-c- -D-");
  EXPECT_EQ(with("(?=b)")->normalize("ab b"), "a-b -b");
  using Offsets = std::vector<std::pair<int32_t, int32_t>>;
  EXPECT_EQ(with("")->encode("\u00e9b").offsets, (Offsets{{0, 0}, {0, 1}, {0, 1}, {1, 2}, {1, 2}}));
  EXPECT_EQ(with("(?=b)")->encode("ab b").offsets, (Offsets{{0, 1}, {0, 1}, {1, 2}, {2, 3}, {2, 3}, {3, 4}}));
}

// Trimming leaves nothing of an added token that is white space; its span is empty and at its end.
TEST(AddedTokenOffsets, OfWhiteSpaceInANormalizedText) {
  SmallTokenizer t;
  t.normalizer = R"({"type": "NFD"})";  // longer than the original: positions differ
  t.post_processor = R"({"type": "ByteLevel", "trim_offsets": true, "add_prefix_space": false})";
  t.added_tokens =
      R"([{"id": 3, "content": "  ", "normalized": true, "single_word": false, "lstrip": false, "rstrip": false,
           "special": false}])";
  const Encoding e = t.make()->encode("\u00e9\u00e9\u00e9  a");
  EXPECT_THAT(e.input_ids, ElementsAre(0, 3, 1));
  EXPECT_THAT(e.offsets, ElementsAre(std::pair(0, 3), std::pair(5, 5), std::pair(5, 6)));
}

}  // namespace
}  // namespace graft::text
