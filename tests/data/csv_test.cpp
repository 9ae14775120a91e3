#include "data/csv.h"

#include <gmock/gmock.h>

#include "support/shared.h"

namespace graft::data {
namespace {

using test::error_of;
using testing::AllOf;
using testing::HasSubstr;
using Fields = std::vector<std::string>;

struct Table {
  Fields columns;
  std::vector<Fields> rows;
  std::vector<int64_t> lines;
};

Table read(RowReader& reader) {
  Table table;
  table.columns = reader.columns();
  Row row;
  while (reader.next(row)) {
    table.lines.push_back(row.line);
    table.rows.emplace_back();
    for (const Cell& cell : row.cells) table.rows.back().push_back(cell.text);
  }
  return table;
}

Table csv(std::string_view bytes) { return read(*csv_rows(memory_stream(bytes), "in.csv")); }
Table tsv(std::string_view bytes) { return read(*tsv_rows(memory_stream(bytes), "in.tsv")); }

TEST(Csv, PlainAndQuotedFields) {
  const Table t = csv("text,label\nhello,1\n\"a, \"\"b\"\"\",0\n\"\",\n");
  EXPECT_EQ(t.columns, (Fields{"text", "label"}));
  EXPECT_EQ(t.rows, (std::vector<Fields>{{"hello", "1"}, {"a, \"b\"", "0"}, {"", ""}}));
  EXPECT_EQ(t.lines, (std::vector<int64_t>{2, 3, 4}));
}

TEST(Csv, QuotedLineEnds) {
  const Table t = csv("text,label\n\"one\ntwo\r\n\nfour\",1\nnext,0\n");
  EXPECT_EQ(t.rows, (std::vector<Fields>{{"one\ntwo\r\n\nfour", "1"}, {"next", "0"}}));
  EXPECT_EQ(t.lines, (std::vector<int64_t>{2, 6}));
}

TEST(Csv, CarriageReturnsBomBlankLinesNoFinalLineEnd) {
  const Table t = csv("\xEF\xBB\xBFtext,label\r\na,1\r\n\r\n\n\"b\",2\r\n,\r\nc,\"3\"");
  EXPECT_EQ(t.columns, (Fields{"text", "label"}));
  EXPECT_EQ(t.rows, (std::vector<Fields>{{"a", "1"}, {"b", "2"}, {"", ""}, {"c", "3"}}));
}

TEST(Csv, QuoteInsideAnUnquotedFieldIsText) {
  EXPECT_EQ(csv("text,label\nhe said \"no\",1\n").rows, (std::vector<Fields>{{"he said \"no\"", "1"}}));
}

TEST(Csv, UnterminatedQuoteNamesTheLineWhereItOpens) {
  EXPECT_THAT(error_of([] { csv("text,label\nfine,0\n\"open,1\nmore,0\nand more,1\n"); }),
              AllOf(HasSubstr("in.csv: line 3: column 1 (text): a quote opens here and is never closed"),
                    HasSubstr("close the quote")));
  // Never a silent merge: the quote of a later row does not close this one.
  EXPECT_THAT(error_of([] { csv("text,label\n\"open,1\nsays \"hello\" twice,0\n"); }),
              AllOf(HasSubstr("in.csv: line 2: column 1 (text): the quote that opens here closes on line 3"),
                    HasSubstr("twice (\"\")")));
  EXPECT_THAT(error_of([] { csv("text,label\n\"Yes\" he said,1\n"); }), HasSubstr("closes on the same line"));
}

TEST(Csv, RaggedRows) {
  EXPECT_THAT(error_of([] { csv("text,label\na,1\nb, c,0\n"); }),
              AllOf(HasSubstr("in.csv: line 3: 3 columns where the header has 2 (text, label)"),
                    HasSubstr("must be in double quotes")));
  EXPECT_THAT(error_of([] { csv("text,label\na\n"); }), HasSubstr("line 2: 1 column where the header has 2"));
  EXPECT_THAT(error_of([] { csv("text,label\na\t1\n"); }), HasSubstr("must be named .tsv"));
  EXPECT_THAT(error_of([] { csv("a fine film that I liked,1\nbad,worse,0\n"); }),
              HasSubstr("the first line must name the columns"));
}

TEST(Csv, OtherQuotesAndSeparatorsAreNamed) {
  EXPECT_THAT(error_of([] { csv("text,label\n'a, b',0\n"); }), HasSubstr("put it in double quotes"));
  EXPECT_THAT(error_of([] { csv("\"text\";\"label\"\n"); }),
              AllOf(HasSubstr("line 1: column 1: the quote"), HasSubstr("separated by commas")));
  EXPECT_THAT(error_of([] { csv("\"text\"\t\"label\"\n"); }), HasSubstr("must be named .tsv"));
  EXPECT_THAT(error_of([] { csv("text,label\n\"say \\\"hi\\\" now\",1\n"); }),
              AllOf(HasSubstr("line 2"), HasSubstr("a backslash does not escape a quote")));
}

// A row takes no more memory for being all commas, and a header has a limit.
TEST(Csv, ManyFieldsAreCountedAndNotKept) {
  const std::string commas(1 << 20, ',');
  EXPECT_THAT(error_of([&] { csv("text,label\n" + commas + "\n"); }),
              HasSubstr("in.csv: line 2: 1048577 columns where the header has 2"));
  EXPECT_THAT(error_of([&] { csv(commas); }), HasSubstr("line 1: 1048577 columns; a file may have 16384"));
  EXPECT_THAT(error_of([&] { tsv(std::string(1 << 20, '\t')); }), HasSubstr("a file may have 16384"));
  const std::string widest(kMaxColumns - 1, ',');
  EXPECT_EQ(csv(widest + "\n" + widest + "\n").rows.at(0).size(), kMaxColumns);
}

TEST(Csv, HostileNamesAreEscaped) {
  EXPECT_THAT(error_of([] { csv("te\x1B[2Jxt,label\na\n"); }), HasSubstr("(te\\u001B[2Jxt, label)"));
  EXPECT_THAT(error_of([] { csv(std::string(1 << 20, 'x') + ",b\na\n"); }).size(), testing::Lt(600u));
}

TEST(Csv, EmptyFileAndOldMacLineEnds) {
  EXPECT_THAT(error_of([] { csv(""); }),
              AllOf(HasSubstr("in.csv: the file is empty"), HasSubstr("name the columns")));
  EXPECT_THAT(error_of([] { csv("\n\n"); }), HasSubstr("the file is empty"));
  EXPECT_THAT(error_of([] { csv("text,label\ra,1\rb,0\r"); }), HasSubstr("carriage return"));
}

TEST(Csv, InvalidUtf8InsideAQuotedFieldNamesItsOwnLine) {
  EXPECT_THAT(error_of([] { csv("text,label\n\"one\ntw\xF6\",1\n"); }),
              HasSubstr("in.csv: line 3: not valid UTF-8"));
}

TEST(Tsv, QuotesOfPandasAreRemoved) {
  const Table t = tsv("text\tlabel\n\"\"\"Hi\"\" she said\"\t1\n\"a\tb\"\t0\n\"whole\"\t1\n\"\"\t0\n");
  EXPECT_EQ(t.rows,
            (std::vector<Fields>{{"\"Hi\" she said", "1"}, {"a\tb", "0"}, {"whole", "1"}, {"", "0"}}));
}

TEST(Tsv, QuotesOfGlueAreText) {
  const Table t = tsv("text\tlabel\n\"open\t1\n\"Yes\" and \"no\"\t0\nit's 6\"\t1\n\"\t0\n\"\"\"\t1\n");
  EXPECT_EQ(
      t.rows,
      (std::vector<Fields>{
          {"\"open", "1"}, {"\"Yes\" and \"no\"", "0"}, {"it's 6\"", "1"}, {"\"", "0"}, {"\"\"\"", "1"}}));
}

TEST(Tsv, TheHeaderDecidesBetweenATabInQuotesAndTwoFields) {
  EXPECT_EQ(tsv("sentence1\tsentence2\tlabel\n\"one\ttwo\"\t1\n").rows,
            (std::vector<Fields>{{"\"one", "two\"", "1"}}));
  EXPECT_EQ(tsv("sentence\tlabel\n\"one\ttwo\"\t1\n").rows, (std::vector<Fields>{{"one\ttwo", "1"}}));
}

TEST(Tsv, CarriageReturnsAndEmptyFields) {
  const Table t = tsv("text\tpair\tlabel\r\na\t\t1\r\n\t\t\r\n");
  EXPECT_EQ(t.columns, (Fields{"text", "pair", "label"}));
  EXPECT_EQ(t.rows, (std::vector<Fields>{{"a", "", "1"}, {"", "", ""}}));
}

TEST(Tsv, RaggedRows) {
  EXPECT_THAT(error_of([] { tsv("text\tlabel\n\"first line\nsecond line\"\t1\n"); }),
              AllOf(HasSubstr("in.tsv: line 2: 1 column where the header has 2"),
                    HasSubstr("a quote opens in this row"), HasSubstr("save the data as .csv or .jsonl")));
  EXPECT_THAT(error_of([] { tsv("text\tlabel\na,1\n"); }), HasSubstr("must be named .csv"));
  EXPECT_THAT(error_of([] { tsv("text\tlabel\na\tb\t1\n"); }), HasSubstr("must not hold tabs"));
}

}  // namespace
}  // namespace graft::data
