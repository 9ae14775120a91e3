#include "data/similar_names.h"

#include <gmock/gmock.h>

#include "base/log.h"
#include "support/shared.h"

namespace graft::data {
namespace {

using test::error_of;
using testing::AllOf;
using testing::HasSubstr;

std::string warnings(const std::vector<std::string>& names) {
  std::vector<LabelCount> labels;
  for (const std::string& name : names) labels.push_back({name, 1, 0});
  std::string said;
  const LogSink before = set_log_sink([&](LogLevel, const std::string& text) { said += text + "\n"; });
  warn_of_similar_names(labels, "d.csv");
  set_log_sink(before);
  return said;
}

std::string said_of(const std::string& name, const std::string& rows) {
  const test::TempDir dir;
  std::string said;
  const LogSink before = set_log_sink([&](LogLevel, const std::string& text) { said += text + "\n"; });
  Dataset::from_file(dir.write(name, rows));
  set_log_sink(before);
  return said;
}

TEST(SimilarNames, OneNumberWrittenInTwoWays) {
  EXPECT_THAT(
      warnings({"01", "1", "x"}),
      HasSubstr("the labels '01' and '1' differ only in how the number is written and are two labels"));
  EXPECT_THAT(warnings({"1.0", "x", "1"}), HasSubstr("'1.0' and '1' differ only in how"));
  EXPECT_THAT(warnings({"-0", "0"}), HasSubstr("in how the number is written"));
  EXPECT_EQ(warnings({"1", "10", "100", "1a", "a1"}), "");
}

TEST(SimilarNames, LettersOfOtherScripts) {
  EXPECT_EQ(
      warnings({"pos", "р\u043Es"}),  // Cyrillic er and o
      "d.csv: the labels 'pos' and '\\u0440\\u043Es' differ only in letters of another script that look "
      "alike and are two labels\n");
  EXPECT_THAT(warnings({"A", "\u0391"}), HasSubstr("'A' and '\\u0391' differ only in letters of another"));
  // Upper-case Ve looks like B, lower-case ve does not look like b.
  EXPECT_THAT(warnings({"B", "\u0412"}), HasSubstr("letters of another script"));
  EXPECT_EQ(warnings({"b", "\u0432"}), "");
  EXPECT_EQ(warnings({"да", "нет", "yes", "no"}), "");
  EXPECT_EQ(look_alike("роs", {"neg", "pos"}), "pos");
}

TEST(SimilarNames, IntegersThatBecomeOneLabel) {
  EXPECT_THAT(said_of("d.csv", "text,label\na,0\nb,1\nc,01\n"),
              HasSubstr("d.csv: line 4: column 'label': '01' is read as the integer 1, which is written in "
                        "another way elsewhere: one label"));
  EXPECT_EQ(said_of("d.csv", "text,label\na,0\nb,1\nc,1\n"), "");
  EXPECT_EQ(said_of("d.csv", "text,label\na,00\nb,01\nc,01\n"), "");
}

// The number 1 and the text "1" are shown alike; the kinds tell them apart.
TEST(SimilarNames, EqualValuesOfTwoKinds) {
  const auto error = [](const std::string& a, const std::string& b) {
    const test::TempDir dir;
    const auto file =
        dir.write("d.jsonl", R"({"text":"a","label":)" + a + "}\n" + R"({"text":"b","label":)" + b + "}\n");
    return error_of([&] { Dataset::from_file(file); });
  };
  EXPECT_THAT(
      error("1", "\"1\""),
      HasSubstr("line 2: column 'label': the text '1' is not of the kind of the number '1' on line 1"));
  EXPECT_THAT(error("true", "\"true\""),
              HasSubstr("the text 'true' is not of the kind of the boolean 'true'"));
  EXPECT_THAT(error("\"[1]\"", "[1]"), HasSubstr("a list is not of the kind of the label '[1]' on line 1"));
}

}  // namespace
}  // namespace graft::data
