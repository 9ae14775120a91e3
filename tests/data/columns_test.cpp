#include "data/columns.h"

#include <gmock/gmock.h>

#include "base/log.h"
#include "support/shared.h"

namespace graft::data {
namespace {

using test::error_of;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using Names = std::vector<std::string>;

// What choosing columns logs.
std::string said(const Names& columns, const DatasetOptions& options = {}) {
  std::string said;
  const LogSink before = set_log_sink([&](LogLevel, const std::string& text) { said += text + "\n"; });
  choose_columns(columns, options, "d.csv");
  set_log_sink(before);
  return said;
}

std::string error(const Names& columns, const DatasetOptions& options) {
  return error_of([&] { choose_columns(columns, options, "d.csv"); });
}

DatasetOptions with(const std::string& text, const std::string& pair, const std::string& label) {
  DatasetOptions options;
  options.text_column = text;
  options.text_pair_column = pair;
  options.label_column = label;
  options.require_label = true;
  return options;
}

TEST(ColumnsTest, AChoiceAmongUsualNamesIsLogged) {
  EXPECT_EQ(said({"text", "sentence1", "sentence2", "label"}),
            "d.csv: the text is 'text', the label 'label'; not read: sentence1, sentence2; choose with "
            "--text_column (and --text_pair_column)\n");
  EXPECT_EQ(
      said({"label", "sentence1", "sentence2", "labels"}),
      "d.csv: the text is 'sentence1' with 'sentence2', the label 'label'; not read: labels; choose with "
      "--label_column\n");
  EXPECT_EQ(said({"labels", "question", "sentence", "premise", "label"}),
            "d.csv: the text is 'question' with 'sentence', the label 'label'; not read: premise, labels; "
            "choose with --text_column (and --text_pair_column) and --label_column\n");
}

TEST(ColumnsTest, WhatIsNoChoiceIsNotLogged) {
  EXPECT_EQ(said({"id", "text", "label"}), "");
  EXPECT_EQ(said({"sentence1", "sentence2", "label"}), "");
  EXPECT_EQ(said({"text", "text_pair"}), "");
  EXPECT_EQ(said({"text", "sentence1", "label"}, with("text", "", "")), "");
  EXPECT_EQ(said({"text", "label", "labels"}, with("", "", "labels")), "");
  DatasetOptions unlabelled;
  unlabelled.ignore_label = true;
  EXPECT_EQ(said({"text", "label", "labels"}, unlabelled), "");
  EXPECT_EQ(said({"text", "Label"}, unlabelled), "");  // no hint at an option without effect
  EXPECT_EQ(choose_columns(
                {"label", "text"},
                [&] {
                  DatasetOptions o = unlabelled;
                  o.text_column = "label";
                  return o;
                }(),
                "d.csv")
                .text,
            0u);
}

// The columns that have a role are not proposed for another one.
TEST(ColumnsTest, HintsNameColumnsThatAreLeft) {
  EXPECT_THAT(
      error({"text", "label"}, with("", "", "text")),
      AllOf(HasSubstr("d.csv: no text column: 'text' is not read as the text because of --label_column "
                      "text (columns: text, label)"),
            HasSubstr("--text_column (left are: label), or choose another --label_column"),
            Not(HasSubstr("did you mean --text_column"))));
  EXPECT_THAT(error({"text"}, with("", "", "text")),
              HasSubstr("choose another --label_column, or add a column with the texts"));
  EXPECT_THAT(error({"text", "label"}, with("", "text", "")),
              AllOf(HasSubstr("because of --text_pair_column text"), HasSubstr("left are: label")));
  for (const char* label : {"sentence1", "sentence2"}) {
    EXPECT_THAT(error({"sentence1", "sentence2", "label"}, with("", "", label)),
                AllOf(HasSubstr(std::string("because of --label_column ") + label),
                      Not(HasSubstr("add the column"))));
  }
  EXPECT_THAT(error({"txt", "Text"}, with("", "", "Text")), HasSubstr("did you mean --text_column 'txt'?"));
  EXPECT_THAT(error({}, {}), AllOf(HasSubstr("the first row has no key"), Not(HasSubstr("--text_column"))));
  EXPECT_THAT(error({"lable", "table"}, with("lable", "", "")),
              AllOf(HasSubstr("no label column"), HasSubstr("did you mean --label_column 'table'?")));
}

}  // namespace
}  // namespace graft::data
