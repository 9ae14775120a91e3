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

// Source, pair and target that are chosen, by name.
std::string chosen(const Names& columns, const std::string& text = "", const std::string& target = "",
                   bool sources_only = false, const std::string& label = "") {
  DatasetOptions options = with(text, "", label);
  options.require_label = false;
  options.text_to_text = true;
  options.target_column = target;
  options.ignore_label = sources_only;
  const Columns c = choose_columns(columns, options, "d.csv");
  const auto name = [&](size_t i) { return i == Columns::kNone ? std::string("-") : columns[i]; };
  return name(c.text) + " " + name(c.pair) + " " + name(c.target);
}

TEST(ColumnsTest, SourceAndTargetByTheirUsualNames) {
  EXPECT_EQ(chosen({"id", "document", "summary"}), "document - summary");
  EXPECT_EQ(chosen({"highlights", "article", "id"}), "article - highlights");
  EXPECT_EQ(chosen({"text", "summary", "label"}), "text - summary");
  EXPECT_EQ(chosen({"question", "context", "answer"}), "question - answer");
  EXPECT_EQ(chosen({"sentence1", "sentence2", "target"}), "sentence1 sentence2 target");
  // One of the two is named.
  EXPECT_EQ(chosen({"body", "title", "summary"}, "", "title"), "body - title");
  EXPECT_EQ(chosen({"headline", "summary"}, "headline"), "headline - summary");
  EXPECT_EQ(chosen({"text", "summary", "target"}, "", "target"), "text - target");
  EXPECT_EQ(chosen({"a", "b"}, "b", "a"), "b - a");
}

TEST(ColumnsTest, ALabelIsATargetWhereThereIsNoOther) {
  EXPECT_EQ(chosen({"text", "label"}), "text - label");
  EXPECT_EQ(chosen({"premise", "hypothesis", "label"}), "premise hypothesis label");
  EXPECT_EQ(chosen({"text", "intent"}, "", "", false, "intent"), "text - intent");
  EXPECT_EQ(chosen({"document", "labels"}), "document - labels");
}

// What prediction reads is what training read.
TEST(ColumnsTest, SourcesAloneAreTheSameAsWithTargets) {
  EXPECT_EQ(chosen({"document", "summary"}, "", "", true), "document - -");
  EXPECT_EQ(chosen({"document"}, "", "", true), "document - -");
  EXPECT_EQ(chosen({"text"}, "", "", true), "text - -");
  EXPECT_EQ(chosen({"premise", "hypothesis"}, "", "", true), "premise hypothesis -");
}

TEST(ColumnsTest, ErrorsOfSourceAndTarget) {
  const auto failed = [](const Names& columns, const std::string& text = "", const std::string& target = "",
                         const std::string& label = "") {
    return error_of([&] { chosen(columns, text, target, false, label); });
  };
  EXPECT_THAT(failed({"text", "Summary"}),
              AllOf(HasSubstr("d.csv: no target column (columns: text, Summary; looked for: source + target"),
                    HasSubstr("did you mean --target_column 'Summary'?")));
  EXPECT_THAT(failed({"x", "y"}, "x"), HasSubstr("name the column of the texts to be written"));
  EXPECT_THAT(failed({"x", "summary"}),
              AllOf(HasSubstr("no text column (columns: x, summary; looked for: source + target"),
                    HasSubstr("name it with --text_column")));
  EXPECT_THAT(failed({"text", "summary"}, "", "sumary"),
              HasSubstr("did you mean --target_column 'summary'?"));
  EXPECT_THAT(failed({"text", "summary"}, "text", "text"), HasSubstr("'text' is both source and target"));
  EXPECT_THAT(failed({"text", "title"}, "", "text"),
              HasSubstr("because of --target_column text (columns: text, title)"));
  EXPECT_THAT(failed({"text", "a", "b"}, "", "a", "b"),
              HasSubstr("--target_column 'a' and --label_column 'b' are both given"));
}

TEST(ColumnsTest, AChoiceAmongUsualTargetsIsLogged) {
  DatasetOptions options;
  options.text_to_text = true;
  EXPECT_EQ(
      said({"document", "summary", "article", "highlights"}, options),
      "d.csv: the source is 'document', the target 'summary'; not read: article, highlights; choose with "
      "--text_column and --target_column\n");
  EXPECT_EQ(said({"id", "document", "summary"}, options), "");
  EXPECT_EQ(said({"text", "label"}, options), "d.csv: the target is the label, 'label', as text\n");
}

}  // namespace
}  // namespace graft::data
