// Expressions that have another meaning in PCRE2 than in Oniguruma: the matches are those of tokenizers
// 0.23.3.
#include "text/oniguruma.h"

#include <gmock/gmock.h>

#include "base/json.h"
#include "support/shared.h"
#include "text/pre_tokenizer.h"

namespace graft::text {
namespace {

using Words = std::vector<std::string>;

constexpr const char* kText = "a\u0301b \u0915\u094d\u092f\u093e 1\u00b2 x_y";

Words matches(const std::string& regex, const std::string& text) {
  const Json block = {
      {"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Removed"}, {"invert", true}};
  PreTokenized t;
  t.text.assign(text, 0);
  t.words = {{0, static_cast<int32_t>(text.size())}};
  make_pre_tokenizer(block, "test")->pre_tokenize(t);
  Words words;
  for (const Span& w : t.words) words.push_back(text.substr(w.begin, w.end - w.begin));
  return words;
}

TEST(Oniguruma, MatchesWhatTheReferenceMatches) {
  struct Case {
    const char *regex, *text;
    Words words;
  };
  const std::vector<Case> cases = {
      {R"(\w+)", kText, {"a\u0301b", "\u0915\u094d\u092f\u093e", "1\u00b2", "x_y"}},
      {R"(\W+)", kText, {" ", " ", " "}},
      {R"([\w]+)", kText, {"a\u0301b", "\u0915\u094d\u092f\u093e", "1", "x_y"}},
      {R"([^\w\s]+)", kText, {"\u00b2"}},
      {R"([\W]+)", kText, {" ", " ", "\u00b2 "}},
      {R"([^\W]+)", kText, {"a\u0301b", "\u0915\u094d\u092f\u093e", "1", "x_y"}},
      {R"([\W_]+)", kText, {" ", " ", "\u00b2 ", "_"}},
      {R"(\b)", kText, {}},
      {R"(\B)", "ab c", {}},
      {R"([[:alpha:]]+)", kText, {"a", "b", "\u0915", "\u092f\u093e", "x", "y"}},
      {R"([[:^alpha:]]+)", kText, {"\u0301", " ", "\u094d", " 1\u00b2 ", "_"}},
      {R"([[:punct:]]+)", "a+b.c", {"+", "."}},
      {R"(\p{Han}+)", "\u6771\u3001\u4eac", {"\u6771", "\u4eac"}},
      {R"(\P{Han}+)", "\u6771\u3001\u4eac", {"\u3001"}},
      {R"([\p{L}&&[^\p{Han}]]+)", "ab\u6771c1", {"ab", "c"}},
      {R"([^\p{L}&&[^\p{Han}]]+)", "ab\u6771c1", {"\u6771", "1"}},
      {R"([a-d&&[bc]&&c])", "abcd", {"c"}},
      {R"([a[cd]]+)", "abcd", {"a", "cd"}},
      {R"([a[^b]]+)", "abcd", {"a", "cd"}},
      {R"([^a[cd]]+)", "abcd", {"b"}},
      {R"(\u6771)", "a\u6771", {"\u6771"}},
      {R"([\u6771-\u6772])", "a\u6771", {"\u6771"}},
      {R"(^a)", "b\na\na", {"a", "a"}},
      {R"(\s+$)", "a  \n b \n\n", {"  ", " \n\n"}},
      {R"((?m)a.b)", "a\nb", {"a\nb"}},
      {R"((?m:a.)b)", "a\nb", {"a\nb"}},
      {R"(\h+)", "xyz1f", {"1f"}},
      {R"(\H+)", "xyz1f", {"xyz"}},
      {R"(\p{Alnum}+)", kText, {"a", "b", "\u0915", "\u092f\u093e", "1", "x", "y"}},
      {R"(\p{^Alnum}+)", kText, {"\u0301", " ", "\u094d", " ", "\u00b2 ", "_"}},
      {R"([\P{Alnum}]+)", kText, {"\u0301", " ", "\u094d", " ", "\u00b2 ", "_"}},
      {R"(\p{Word}+)", kText, {"a\u0301b", "\u0915\u094d\u092f\u093e", "1\u00b2", "x_y"}},
  };
  for (const Case& c : cases) EXPECT_EQ(matches(c.regex, c.text), c.words) << c.regex << " on " << c.text;
}

TEST(Oniguruma, OrdinaryExpressionsStayAsTheyAre) {
  for (const char* regex :
       {R"( ?\p{L}+|\s+(?!\S))", R"([^\r\n\p{L}\p{N}]?+)", R"((?i:'s|'t))", R"([]\-^a])", R"(a{1,3}\d)"})
    EXPECT_EQ(to_pcre2(regex), regex);
}

TEST(Oniguruma, AMalformedExpressionIsAnError) {
  for (const char* regex : {"[a", "[a[b]", "[[:alpha:]", "(", "\\p{Nonsense}", "\\u12"})
    EXPECT_THAT(test::error_of([&] { matches(regex, "a"); }), testing::HasSubstr("does not compile"))
        << regex;
}

}  // namespace
}  // namespace graft::text
