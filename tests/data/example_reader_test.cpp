#include "data/example_reader.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "base/log.h"
#include "support/shared.h"

namespace graft::data {
namespace {

using test::error_of;
using testing::AllOf;
using testing::HasSubstr;

TEST(ExampleReader, RowsOfEveryFormat) {
  const test::TempDir dir;
  for (const auto& path : {dir.write("a.csv", "text,label\none,x\n\"two\n2\",x\n"),
                           dir.write("a.tsv", "text\tlabel\none\tx\ntwo\\n2\tx\n"),
                           dir.write("a.jsonl", "{\"text\":\"one\"}\n{\"text\":\"two\\n2\"}\n"),
                           dir.write("a.json", "[{\"text\":\"one\"},\n{\"text\":\"two\\n2\"}]"),
                           dir.write("a.txt", "one\ntwo\\n2\n")}) {
    DatasetOptions options;
    options.ignore_label = true;
    ExampleReader reader(path, options);
    Example example;
    ASSERT_TRUE(reader.next(example)) << path;
    EXPECT_EQ(example.text, "one") << path;
    ASSERT_TRUE(reader.next(example)) << path;
    EXPECT_THAT(example.text, HasSubstr("two")) << path;
    EXPECT_FALSE(example.has_label());
    EXPECT_GT(example.line, 1) << path;
    EXPECT_FALSE(reader.next(example)) << path;
  }
}

// Errors come when their row is reached: what is before it can be answered.
TEST(ExampleReader, ReadsARowAtATime) {
  const test::TempDir dir;
  ExampleReader reader(dir.write("a.jsonl", "{\"text\":\"one\",\"label\":0}\n{\"text\":null}\n"), {});
  Example example;
  ASSERT_TRUE(reader.next(example));
  EXPECT_EQ(reader.label().text, "0");
  EXPECT_EQ(reader.label_column(), "label");
  EXPECT_THAT(error_of([&] { reader.next(example); }), HasSubstr("a.jsonl: line 2: column 'text' is null"));
}

TEST(ExampleReader, CountsEmptyTexts) {
  const test::TempDir dir;
  std::string said;
  const LogSink before = set_log_sink([&](LogLevel, const std::string& text) { said += text; });
  ExampleReader reader(dir.write("a.txt", "one\n\n\n"), {});
  Example example;
  while (reader.next(example)) {
  }
  set_log_sink(before);
  EXPECT_THAT(said, HasSubstr("a.txt: 2 of 3 texts are empty (the first on line 2)"));
}

TEST(ExampleReader, CountsPairsWithAnEmptySide) {
  const test::TempDir dir;
  std::string said;
  const LogSink before = set_log_sink([&](LogLevel, const std::string& text) { said += text; });
  ExampleReader reader(dir.write("a.csv", "text,text_pair\none,two\none,\n,two\n"), {});
  Example example;
  while (reader.next(example)) {
  }
  set_log_sink(before);
  EXPECT_THAT(said, HasSubstr("a.csv: 2 of 3 pairs have an empty text (the first on line 3)"));
}

// What a pipe holds follows from its first line.
TEST(ExampleReader, APipeHoldsTextsOrRowsOfJson) {
  const auto texts_of = [](const std::string& bytes) {
    DatasetOptions options;
    options.ignore_label = true;
    ExampleReader reader(open_piped_rows(memory_stream(bytes), "-"), "-", options);
    std::vector<std::string> texts;
    for (Example e; reader.next(e);) texts.push_back(e.text);
    return texts;
  };
  using testing::ElementsAre;
  const std::string lengthy(70000, 'x');
  EXPECT_THAT(texts_of("one\n{\"text\": \"two\"}\n"), ElementsAre("one", "{\"text\": \"two\"}"));
  EXPECT_THAT(texts_of(" {\"id\": 1, \"text\": \"two\"}\n{\"text\":\"three\"}"), ElementsAre("two", "three"));
  EXPECT_THAT(texts_of("{\"text\": \"" + lengthy + "\"}\n"), ElementsAre(lengthy));
  EXPECT_THAT(texts_of(lengthy + "\n"), ElementsAre(lengthy));
  EXPECT_THAT(texts_of("{a set}\n{\"b\n"), ElementsAre("{a set}", "{\"b"));
  EXPECT_THAT(texts_of(""), ElementsAre());
}

// Numbers as texts are more often another column.
TEST(ExampleReader, CountsTextsThatAreNumbers) {
  const test::TempDir dir;
  std::string said;
  const LogSink before = set_log_sink([&](LogLevel, const std::string& text) { said += text + "\n"; });
  const auto read = [&](const char* name, const std::string& content) {
    ExampleReader reader(dir.write(name, content), {});
    Example example;
    while (reader.next(example)) {
    }
  };
  read("a.jsonl", "{\"text\":\"one\"}\n{\"text\":2}\n{\"text\":true}\n");
  read("b.csv", "text\none\n2\n");
  read("c.jsonl", "{\"text\":\"2\"}\n");
  set_log_sink(before);
  EXPECT_THAT(
      said, testing::EndsWith("a.jsonl: 2 texts are numbers or booleans (the first on line 2): is 'text' the "
                              "column of the texts?\n"));
}

// The first row decides which columns are read: a pair that comes later is an error, as a label is.
TEST(ExampleReader, APairThatComesLateIsNotOverlooked) {
  const test::TempDir dir;
  const auto file = dir.write("a.jsonl", "{\"text\":\"one\"}\n{\"text\":\"two\",\"text_pair\":\"2\"}\n");
  const auto read = [&](const DatasetOptions& options) {
    ExampleReader reader(file, options);
    Example example;
    while (reader.next(example)) {
    }
  };
  EXPECT_THAT(error_of([&] { read({}); }),
              AllOf(HasSubstr("a.jsonl: some rows have 'text_pair' beside 'text', but the first row has not"),
                    HasSubstr("--text_column")));
  DatasetOptions named;
  named.text_column = "text";
  read(named);
}

TEST(ExampleReader, Pairs) {
  const test::TempDir dir;
  ExampleReader reader(dir.write("a.csv", "premise,hypothesis\na,b\n"), {});
  EXPECT_TRUE(reader.has_pairs());
  Example example;
  ASSERT_TRUE(reader.next(example));
  EXPECT_TRUE(example.has_pair);
  EXPECT_EQ(example.text_pair, "b");
}

std::string error_of_or_none(const std::function<void()>& f) {
  try {
    f();
    return "";
  } catch (const Error& e) {
    return std::string(e.what()) + "\n" + e.hint();
  }
}

// All rows of a file as "source>target", or the error, and what the reader logs.
std::pair<std::string, std::string> read_targets(const std::filesystem::path& file) {
  static std::string said;
  said.clear();
  std::string rows;
  const LogSink before = set_log_sink([](LogLevel, const std::string& text) { said += text + "\n"; });
  DatasetOptions options;
  options.text_to_text = true;
  Dataset dataset;
  const std::string error = error_of_or_none([&] { dataset = Dataset::from_file(file, options); });
  set_log_sink(before);
  if (!error.empty()) return {error, said};
  for (const Example& e : dataset.examples())
    rows += e.text + ">" + e.target + (e.has_label() ? "!" : "") + "\n";
  EXPECT_TRUE(dataset.has_targets());
  EXPECT_EQ(dataset.label_kind(), LabelKind::none);
  return {rows, said};
}

TEST(ExampleReader, SourcesAndTargetsOfEveryFormat) {
  const test::TempDir dir;
  EXPECT_EQ(read_targets(dir.write("a.csv", "document,summary\na,b\n\"c\nd\",e\n")).first, "a>b\nc\nd>e\n");
  EXPECT_EQ(read_targets(dir.write("a.tsv", "document\tsummary\na\tb\n")).first, "a>b\n");
  EXPECT_EQ(read_targets(dir.write("a.jsonl", "{\"document\":\"a\",\"summary\":\"b\"}\n")).first, "a>b\n");
  // Labels as texts: names, numbers and booleans.
  const auto [rows, said] =
      read_targets(dir.write("b.jsonl", "{\"text\":\"a\",\"label\":1}\n{\"text\":\"b\",\"label\":true}\n"));
  EXPECT_EQ(rows, "a>1\nb>true\n");
  EXPECT_THAT(said, testing::Not(HasSubstr("numbers or booleans")));
}

TEST(ExampleReader, AnEmptyTargetIsCountedAndAMissingOneIsAnError) {
  const test::TempDir dir;
  EXPECT_THAT(read_targets(dir.write("a.csv", "source,target\na,\nb,c\n")).second,
              HasSubstr("a.csv: 1 of 2 targets are empty (the first on line 2)"));
  EXPECT_THAT(
      read_targets(dir.write("a.jsonl", "{\"text\":\"a\",\"target\":\"b\"}\n{\"text\":\"c\"}\n")).first,
      HasSubstr("a.jsonl: line 2: column 'target' is missing"));
  EXPECT_THAT(read_targets(dir.write("b.jsonl", "{\"text\":\"a\",\"target\":null}\n")).first,
              HasSubstr("b.jsonl: line 1: column 'target' is null"));
  EXPECT_THAT(read_targets(dir.write("c.jsonl", "{\"text\":\"a\",\"label\":[0, 1]}\n")).first,
              HasSubstr("c.jsonl: line 1: column 'label' is a list, not a text"));
  EXPECT_THAT(
      read_targets(dir.write("a.txt", "one\n")).first,
      AllOf(HasSubstr("a.txt: a file with one text a line has no targets"), HasSubstr("target column")));
}

// The rows of run_translation.
TEST(ExampleReader, TranslationsByTheirLanguages) {
  const test::TempDir dir;
  const auto file = dir.write("a.jsonl",
                              "{\"translation\":{\"en\":\"a \\\"house\\\"\",\"de\":\"ein Haus\",\"fr\":3}}\n"
                              "{\"id\":1,\"translation\":{\"de\":\"\",\"en\":\"b\"}}\n");
  const auto options = [](const std::string& source, const std::string& target, bool sources_only = false) {
    DatasetOptions o;
    o.text_to_text = true;
    o.source_lang = source;
    o.target_lang = target;
    o.ignore_label = sources_only;
    return o;
  };
  const Dataset dataset = Dataset::from_file(file, options("en", "de"));
  ASSERT_EQ(dataset.size(), 2u);
  EXPECT_EQ(dataset[0].text, "a \"house\"");
  EXPECT_EQ(dataset[0].target, "ein Haus");
  EXPECT_EQ(dataset[1].text, "b");
  EXPECT_TRUE(dataset[1].has_target);
  EXPECT_EQ(Dataset::from_file(file, options("de", "", true))[0].text, "ein Haus");
  const auto failed = [&](const DatasetOptions& o) { return error_of([&] { Dataset::from_file(file, o); }); };
  EXPECT_THAT(failed(options("en", "")), HasSubstr("--source_lang and --target_lang"));
  EXPECT_THAT(failed(options("en", "it")),
              HasSubstr("a.jsonl: line 1: the column 'translation' has no 'it' (it has: en, de, fr)"));
  EXPECT_THAT(failed(options("en", "fr")), HasSubstr("a.jsonl: line 1: the translation 'fr' is no text"));
  DatasetOptions both = options("en", "de");
  both.text_column = "id";
  EXPECT_THAT(failed(both), HasSubstr("--source_lang is given together with a column"));
  EXPECT_THAT(error_of([&] { Dataset::from_file(dir.write("b.csv", "en,de\na,b\n"), options("en", "de")); }),
              AllOf(HasSubstr("the column 'translation', which is not there (columns: en, de)"),
                    HasSubstr("--text_column and --target_column")));
}

}  // namespace
}  // namespace graft::data
