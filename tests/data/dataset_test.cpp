#include "graft/dataset.h"

#include <gmock/gmock.h>

#include "base/log.h"
#include "support/shared.h"

namespace graft {
namespace {

using test::error_of;
using test::TempDir;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using Labels = std::vector<std::string>;

class DatasetTest : public testing::Test {
 protected:
  Dataset read(const std::string& name, const std::string& content, const DatasetOptions& options = {}) {
    return Dataset::from_file(dir_.write(name, content), options);
  }
  std::string error(const std::string& name, const std::string& content, const DatasetOptions& options = {}) {
    return error_of([&] { read(name, content, options); });
  }
  static DatasetOptions labelled() {
    DatasetOptions options;
    options.require_label = true;
    return options;
  }
  TempDir dir_;
};

TEST_F(DatasetTest, UsualColumns) {
  const Dataset d = read("a.csv", "id,text,label\n7,hello,1\n8,bye,0\n");
  ASSERT_EQ(d.size(), 2u);
  EXPECT_EQ(d[0].text, "hello");
  EXPECT_EQ(d[0].labels, Labels{"1"});
  EXPECT_EQ(d[1].line, 3);
  EXPECT_FALSE(d.has_pairs());
  EXPECT_EQ(d.label_kind(), LabelKind::integers);
  const char* const pairs[][2] = {{"sentence1", "sentence2"},
                                  {"premise", "hypothesis"},
                                  {"question1", "question2"},
                                  {"question", "sentence"},
                                  {"text", "text_pair"}};
  for (const auto& [first, second] : pairs) {
    const Dataset p = read("p.tsv", fmt::format("label\t{}\t{}\nyes\tB\tA\n", second, first));
    EXPECT_EQ(p[0].text, "A") << first;
    EXPECT_EQ(p[0].text_pair, "B") << first;
    EXPECT_TRUE(p.has_pairs());
  }
}

TEST_F(DatasetTest, ColumnOverrides) {
  DatasetOptions o;
  o.text_column = "b";
  EXPECT_EQ(read("a.csv", "text,b,label\n1,2,3\n", o)[0].text, "2");
  EXPECT_FALSE(read("a.csv", "text,b,label\n1,2,3\n", o)[0].has_pair);
  o.text_pair_column = "text";
  o.label_column = "c";
  const Dataset d = read("a.csv", "text,b,c,label\n1,2,3,4\n", o);
  EXPECT_EQ(d[0].text_pair, "1");
  EXPECT_EQ(d[0].labels, Labels{"3"});
  DatasetOptions pair_only;
  pair_only.text_pair_column = "title";
  EXPECT_EQ(read("a.csv", "title,text\nT,X\n", pair_only)[0].text_pair, "T");
}

TEST_F(DatasetTest, MissingColumnListsThoseThereAre) {
  EXPECT_THAT(error("a.csv", "txet,label\na,1\n"),
              AllOf(HasSubstr("a.csv: no text column (columns: txet, label; looked for: text"),
                    HasSubstr("did you mean --text_column 'txet'?")));
  EXPECT_THAT(error("a.csv", "Text,label\na,1\n"), HasSubstr("did you mean --text_column 'Text'?"));
  EXPECT_THAT(error("a.csv", "text,Label\na,1\n", labelled()),
              AllOf(HasSubstr("a.csv: no label column (columns: text, Label; looked for: label, labels)"),
                    HasSubstr("did you mean --label_column 'Label'?")));
  DatasetOptions o;
  o.text_column = "reviews";
  EXPECT_THAT(error("a.csv", "review,label\na,1\n", o),
              AllOf(HasSubstr("a.csv: there is no column 'reviews' (columns: review, label)"),
                    HasSubstr("did you mean --text_column 'review'?")));
  EXPECT_THAT(
      error("a.csv", "sentence1,label\na,1\n"),
      AllOf(HasSubstr("a column 'sentence1' but no 'sentence2'"), HasSubstr("--text_column sentence1")));
  EXPECT_THAT(error("a.csv", "text,text,label\na,b,1\n"), HasSubstr("two columns are named 'text'"));
}

TEST_F(DatasetTest, HeaderlessFileGetsAHint) {
  EXPECT_THAT(
      error("a.tsv", "a gripping film\t1\nnot for me\t0\n"),
      AllOf(HasSubstr("columns: a gripping film, 1"), HasSubstr("its first line must name the columns")));
}

TEST_F(DatasetTest, AHeaderWithAnotherSeparatorIsNamed) {
  EXPECT_THAT(error("a.csv", "text;label\na;0\n"),
              AllOf(HasSubstr("a.csv: the header has no comma but ';' (text;label)"),
                    HasSubstr("save the file with commas")));
  EXPECT_THAT(error("a.csv", "text\tlabel\na\t0\n"),
              AllOf(HasSubstr("a.csv: the header has no comma but tabs (text\\tlabel)"),
                    HasSubstr("must be named .tsv")));
  EXPECT_THAT(error("a.csv", "text|label\na|0\n"), HasSubstr("no comma but '|'"));
  EXPECT_THAT(error("a.tsv", "text,label\na,0\n"),
              AllOf(HasSubstr("a.tsv: the header has no tab but commas (text,label)"),
                    HasSubstr("must be named .csv")));
  EXPECT_THAT(error("a.tsv", "text;label\na;0\n"), HasSubstr("save the file with tabs between the columns"));
  EXPECT_THAT(error("a.csv", "'text','label'\n'a','0'\n"), HasSubstr("the header is in single quotes"));
  DatasetOptions o;
  o.text_column = "body";
  EXPECT_THAT(error("a.csv", "body;label\na;0\n", o), HasSubstr("no comma but ';'"));
  EXPECT_THAT(error("a.csv", "text\na\n", labelled()), HasSubstr("no label column"));
}

TEST_F(DatasetTest, LabelColumnInOtherCaseIsSaid) {
  std::string said;
  const LogSink before = set_log_sink([&](LogLevel, const std::string& text) { said += text; });
  const Dataset d = read("a.csv", "text,LABEL\na,1\n");
  set_log_sink(before);
  EXPECT_FALSE(d[0].has_label());
  EXPECT_THAT(said, HasSubstr("the column 'LABEL' is not read as the label"));
}

TEST_F(DatasetTest, LabelKinds) {
  EXPECT_EQ(read("a.csv", "text,label\na, 01\nb,+1\n").label_kind(), LabelKind::integers);
  EXPECT_THAT(read("a.csv", "text,label\na, 01\nb,+1\n")[0].labels, ElementsAre("1"));
  EXPECT_EQ(read("a.csv", "text,label\na,1\nb,x\n").label_kind(), LabelKind::strings);
  EXPECT_EQ(read("a.csv", "text,label\na,a|b\nb,b\n").label_kind(), LabelKind::strings);
  EXPECT_EQ(read("a.csv", "text,label\na,1\nb,2.5\n").label_kind(), LabelKind::floats);
  EXPECT_EQ(read("a.csv", "text\na\n").label_kind(), LabelKind::none);
  EXPECT_EQ(read("a.jsonl", R"({"text":"a","label":1})").label_kind(), LabelKind::integers);
  EXPECT_EQ(read("a.jsonl", R"({"text":"a","label":"1"})").label_kind(), LabelKind::strings);
  EXPECT_EQ(read("a.jsonl", R"({"text":"a","label":true})").label_kind(), LabelKind::strings);
  EXPECT_EQ(read("a.jsonl", "{\"text\":\"a\",\"label\":1}\n{\"text\":\"a\",\"label\":2.0}").label_kind(),
            LabelKind::floats);
  const Dataset lists =
      read("a.jsonl", "{\"text\":\"a\",\"labels\":[\"x\",\"y\"]}\n{\"text\":\"b\",\"labels\":[]}");
  EXPECT_EQ(lists.label_kind(), LabelKind::lists);
  EXPECT_EQ(lists.label_item_kind(), LabelKind::strings);
  EXPECT_THAT(lists[0].labels, ElementsAre("x", "y"));
  EXPECT_TRUE(lists[1].has_label());
  EXPECT_EQ(read("a.json", R"([{"text":"a","label":[0,2]}])").label_item_kind(), LabelKind::integers);
}

TEST_F(DatasetTest, LabelsOfOneKindOnly) {
  EXPECT_THAT(
      error("a.csv", "text,label\na,0.5\nb,1\nc,good\n"),
      HasSubstr(
          "a.csv: line 4: column 'label': the label 'good' is not of the kind of the label '0.5' on line 2"));
  EXPECT_THAT(error("a.csv", "text,label\na,1\nb,nan\n"),
              HasSubstr("a.csv: line 3: column 'label': the label 'nan' is not a finite number"));
  EXPECT_THAT(error("a.csv", "text,label\na,1\nb,NA\n"),
              HasSubstr("a.csv: line 3: column 'label': the label is missing ('NA' among numbers)"));
  EXPECT_THAT(
      error("a.jsonl", "{\"text\":\"a\",\"label\":1}\n{\"text\":\"a\",\"label\":\"x\"}"),
      HasSubstr("line 2: column 'label': the text 'x' is not of the kind of the number '1' on line 1"));
  EXPECT_THAT(error("a.jsonl", "{\"text\":\"a\",\"label\":[1]}\n{\"text\":\"a\",\"label\":2}"),
              HasSubstr("line 2: column 'label': the label '2' is not of the kind of a list on line 1"));
  EXPECT_THAT(error("a.jsonl", R"({"text":"a","label":[0.5,1.0]})"), HasSubstr("the list holds 0.5"));
  EXPECT_THAT(error("a.jsonl", R"({"text":"a","label":[0,2,0]})"), HasSubstr("the list holds '0' twice"));
  EXPECT_THAT(error("a.jsonl", R"({"text":"a","label":{"x":1}})"),
              HasSubstr("line 1: column 'label': the label is an object"));
  EXPECT_THAT(error("a.jsonl", R"({"text":"a","label":[null]})"), HasSubstr("a list with a null in it"));
}

// The mark is no part of the first name, and UTF-16 is refused, in every format.
TEST_F(DatasetTest, ByteOrderMarks) {
  const std::string mark = "\xEF\xBB\xBF";
  EXPECT_EQ(read("a.csv", mark + "text,label\nalpha,1\n")[0].text, "alpha");
  EXPECT_EQ(read("a.csv", mark + "\"text\",label\nalpha,1\n")[0].text, "alpha");
  EXPECT_EQ(read("a.tsv", mark + "text\tlabel\nalpha\t1\n")[0].text, "alpha");
  EXPECT_EQ(read("a.jsonl", mark + "{\"text\":\"alpha\"}\n")[0].text, "alpha");
  EXPECT_EQ(read("a.json", mark + "[{\"text\":\"alpha\"}]\n")[0].text, "alpha");
  EXPECT_EQ(read("a.txt", mark + "alpha\n")[0].text, "alpha");
  for (const char* name : {"a.csv", "a.tsv", "a.jsonl", "a.json", "a.txt"}) {
    EXPECT_THAT(error(name, std::string("\xFF\xFEt\0", 4)),
                HasSubstr("the text is UTF-16, UTF-8 was expected"))
        << name;
    EXPECT_EQ(error(name, mark).empty(), false) << name;
  }
}

TEST_F(DatasetTest, MissingLabels) {
  EXPECT_THAT(
      error("a.csv", "text,label\na,1\nb,\n", labelled()),
      AllOf(HasSubstr("a.csv: line 3: column 'label': the label is missing"), HasSubstr("remove the row")));
  EXPECT_THAT(error("a.jsonl", "{\"text\":\"a\",\"label\":null}", labelled()),
              HasSubstr("line 1: column 'label': the label is missing"));
  EXPECT_THAT(error("a.jsonl", "{\"text\":\"a\",\"label\":1}\n{\"text\":\"b\"}", labelled()),
              HasSubstr("line 2"));
  EXPECT_THAT(error("a.jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\",\"label\":1}"),
              HasSubstr("some rows have 'label', but the first row has not"));
  EXPECT_THAT(error("a.txt", "a\n", labelled()), HasSubstr("a file with one text a line has no labels"));
  const Dataset d = read("a.csv", "text,label\na,1\nb,\n");
  EXPECT_TRUE(d[0].has_label());
  EXPECT_FALSE(d[1].has_label());
}

TEST_F(DatasetTest, NullAndWrongTexts) {
  EXPECT_THAT(error("a.jsonl", "{\"text\":\"a\"}\n{\"text\":null}"),
              HasSubstr("a.jsonl: line 2: column 'text' is null"));
  EXPECT_THAT(error("a.jsonl", "{\"text\":\"a\"}\n{\"txt\":\"b\"}"),
              HasSubstr("line 2: column 'text' is missing"));
  EXPECT_THAT(error("a.jsonl", R"({"text":["a"]})"), HasSubstr("line 1: column 'text' is a list"));
  std::string said;
  const LogSink before = set_log_sink([&](LogLevel, const std::string& text) { said += text; });
  EXPECT_EQ(read("a.csv", "text,label\nx,1\n,1\n,0\n").size(), 3u);
  set_log_sink(before);
  EXPECT_THAT(said, HasSubstr("a.csv: 2 of 3 texts are empty (the first on line 3)"));
}

TEST_F(DatasetTest, EmptyFiles) {
  EXPECT_THAT(error("a.csv", ""), HasSubstr("a.csv: the file is empty"));
  EXPECT_THAT(error("a.csv", "text,label\n"), HasSubstr("a.csv: no rows below the header"));
  EXPECT_THAT(error("a.txt", ""), HasSubstr("a.txt: the file is empty"));
  EXPECT_THAT(error("a.jsonl", ""), HasSubstr("a.jsonl: no rows in the file"));
  EXPECT_THAT(error("a.doc", "x"),
              AllOf(HasSubstr("a.doc: unknown kind of file '.doc'"), HasSubstr(".jsonl")));
}

TEST_F(DatasetTest, PlainTextKeepsEveryLine) {
  const Dataset d = read("a.txt", "one\n\n\"two\", 2\t3\r\n");
  ASSERT_EQ(d.size(), 3u);
  EXPECT_EQ(d[1].text, "");
  EXPECT_EQ(d[2].text, "\"two\", 2\t3");
}

TEST_F(DatasetTest, MaxSamplesKeepsTheLabelsOfTheWholeFile) {
  DatasetOptions o = labelled();
  o.max_samples = 2;
  const Dataset d = read("a.csv", "text,label\na,1\nb,0\nc,2\nd,2\n", o);
  EXPECT_EQ(d.size(), 2u);
  ASSERT_EQ(d.label_counts().size(), 3u);
  EXPECT_EQ(d.label_counts()[2].label, "2");
  EXPECT_EQ(d.label_counts()[2].count, 2);
  EXPECT_EQ(d.label_counts()[2].line, 4);
  o.max_samples = 9;
  EXPECT_EQ(read("a.csv", "text,label\na,1\n", o).size(), 1u);
}

TEST_F(DatasetTest, IgnoredLabelsAreNotLookedAt) {
  DatasetOptions o;
  o.ignore_label = true;
  EXPECT_FALSE(read("a.csv", "text,label\na,0.5\nb,good\n", o)[0].has_label());
}

TEST_F(DatasetTest, FromExamples) {
  Example a, b;
  a.labels = {"x"};
  b.labels = {"x", "y"};
  EXPECT_EQ(Dataset({a}).label_kind(), LabelKind::strings);
  const Dataset lists({a, b});
  EXPECT_EQ(lists.label_kind(), LabelKind::lists);
  EXPECT_EQ(lists.label_counts().size(), 2u);
  EXPECT_EQ(lists.label_counts()[0].count, 2);
}

// Row counts are those of the sets' own table.
TEST_F(DatasetTest, RealFiles) {
  struct Expected {
    const char* file;
    size_t rows, labels;
    LabelKind kind;
  };
  const Expected expected[] = {
      {"sst2/train.tsv", 67349, 2, LabelKind::integers},
      {"sst2/dev.tsv", 872, 2, LabelKind::integers},
      {"ag_news/train.csv", 10001, 4, LabelKind::strings},
      {"ag_news/test.csv", 7600, 4, LabelKind::strings},
      {"chemprot/train.jsonl", 4169, 13, LabelKind::strings},
      {"scicite/test.jsonl", 1861, 3, LabelKind::strings},
      {"xsid/intents.en.train.tsv", 43605, 18, LabelKind::strings},
      {"xsid/intents.gsw.test.tsv", 500, 15, LabelKind::strings},
      {"sib200/de.train.tsv", 701, 7, LabelKind::strings},
      {"sib200/ru.train.tsv", 701, 7, LabelKind::strings},
      {"sib200/en.dev.tsv", 99, 7, LabelKind::strings},
      {"sib200/it.test.tsv", 204, 7, LabelKind::strings},
  };
  GRAFT_SHARED_PATH(sets, "data/sets");
  for (const Expected& e : expected) {
    const Dataset d = Dataset::from_file(sets / e.file, labelled());
    EXPECT_EQ(d.size(), e.rows) << e.file;
    EXPECT_EQ(d.label_counts().size(), e.labels) << e.file;
    EXPECT_EQ(d.label_kind(), e.kind) << e.file;
  }
  const Dataset parallel = Dataset::from_file(sets / "sib200/en.train.tsv", labelled());
  for (const Example& e : parallel.examples())
    EXPECT_EQ(e.text.find("\"\"\"\"\""), std::string::npos) << e.line;
}

// Rows that stay in the file are those of memory.
TEST_F(DatasetTest, RowsInAFile) {
  const std::pair<const char*, const char*> files[] = {
      {"a.csv", "sentence1,sentence2,label\nA,B,yes\nC,D,no\n\"E\nF\",G,yes\n"},
      {"b.csv", "text,label\nA,01\nB,2\nC,0\n"},
      {"c.tsv", "text\tlabel\nA\t0.5\nB\t2\n"},
      {"d.jsonl", "{\"text\": \"A\", \"labels\": [\"x\", \"y\"]}\n{\"text\": \"B\", \"labels\": []}\n"}};
  for (const auto& [name, content] : files)
    for (const int64_t max_samples : {-1, 2}) {
      DatasetOptions options = labelled();
      options.max_samples = max_samples;
      const Dataset memory = read(name, content, options);
      options.keep_in_file = true;
      const Dataset file = read(name, content, options);
      EXPECT_TRUE(file.in_file());
      EXPECT_FALSE(memory.in_file());
      EXPECT_TRUE(file.examples().empty());
      EXPECT_EQ(file.size(), memory.size()) << name;
      EXPECT_EQ(file.has_pairs(), memory.has_pairs()) << name;
      EXPECT_EQ(file.label_kind(), memory.label_kind()) << name;
      ASSERT_EQ(file.label_counts().size(), memory.label_counts().size()) << name;
      for (int again = 0; again < 2; ++again) {
        size_t i = 0;
        file.for_each([&](const Example& e) {
          ASSERT_LT(i, memory.size());
          EXPECT_EQ(e.text, memory[i].text);
          EXPECT_EQ(e.text_pair, memory[i].text_pair);
          EXPECT_EQ(e.labels, memory[i].labels);
          EXPECT_EQ(e.no_label_applies, memory[i].no_label_applies);
          EXPECT_EQ(e.line, memory[i].line);
          ++i;
        });
        EXPECT_EQ(i, memory.size()) << name;
      }
    }
}

TEST_F(DatasetTest, RowsInAFileThatChanges) {
  DatasetOptions options = labelled();
  options.keep_in_file = true;
  const Dataset file = read("a.csv", "text,label\nA,0\nB,1\nC,1\n", options);
  dir_.write("a.csv", "text,label\nA,0\nB,1\n");
  EXPECT_THAT(error_of([&] { file.for_each([](const Example&) {}); }),
              AllOf(HasSubstr("a.csv"), HasSubstr("has 2 rows now"), HasSubstr("3 at the first reading")));
  options.tuples = true;
  options.require_label = false;
  EXPECT_THAT(error("a.csv", "anchor,positive\na,b\n", options), HasSubstr("keep_in_file"));
}

}  // namespace
}  // namespace graft
