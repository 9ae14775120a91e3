// Questions from nested and flat files, and what is wrong in them.
#include "data/question_reader.h"

#include "support/shared.h"

namespace graft::data {
namespace {
using test::error_of;
using test::TempDir;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<Example> read(const TempDir& dir, const std::string& name, const std::string& content,
                          bool labelled = true) {
  DatasetOptions options;
  options.questions = true;
  options.require_label = labelled;
  options.ignore_label = !labelled;
  return Dataset::from_file(dir.write(name, content), options).examples();
}

constexpr const char* kNested = R"({"version": "v2.0", "data": [
  {"title": "A", "paragraphs": [{"context": "Ann met Bob.", "qas": [
     {"id": "q1", "question": "Who?", "is_impossible": false,
      "answers": [{"text": "Ann", "answer_start": 0}, {"text": "Ann met", "answer_start": 0}]},
     {"id": 7, "question": "Why?", "is_impossible": true, "answers": [], "plausible_answers": [{"text": "Bob", "answer_start": 8}]}]}]},
  {"paragraphs": [{"context": "Zoë sang.", "qas": [{"question": "Who sang?", "answers": [{"text": "sang", "answer_start": 4}]}]}]}
]})";

TEST(QuestionReader, ReadsSquadsNestedFiles) {
  TempDir dir;
  const std::vector<Example> rows = read(dir, "squad.json", kNested);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].id, "q1");
  EXPECT_EQ(rows[0].text, "Who?");
  EXPECT_EQ(rows[0].text_pair, "Ann met Bob.");
  ASSERT_EQ(rows[0].answers.size(), 2u);
  EXPECT_EQ(rows[0].answers[1].text, "Ann met");
  EXPECT_EQ(rows[1].id, "7");
  EXPECT_TRUE(rows[1].answers.empty());
  EXPECT_EQ(rows[2].answers[0].start, 4);
  EXPECT_EQ(rows[2].line, 6);
}

TEST(QuestionReader, ReadsTheRowsOfDatasetsInEachFormat) {
  TempDir dir;
  const std::string row =
      R"({"id": "1", "question": "Who?", "context": "Ann, met \"B\".", "answers": {"text": ["Ann"], "answer_start": [0]}})";
  for (const auto& [name, content] :
       {std::pair<std::string, std::string>{"a.jsonl", row + "\n" + row},
        {"a.json", "[" + row + "," + row + "]"},
        {"b.json", R"({"data": [)" + row + "," + row + "]}"},
        {"a.csv",
         "id,question,context,answers\n" +
             std::string(R"(1,Who?,"Ann, met ""B"".","{""text"": [""Ann""], ""answer_start"": [0]}")") +
             "\n" + R"(1,Who?,"Ann, met ""B"".","[{""text"": ""Ann"", ""answer_start"": 0}]")" + "\n"}}) {
    const std::vector<Example> rows = read(dir, name, content);
    ASSERT_EQ(rows.size(), 2u) << name;
    for (const Example& e : rows) {
      EXPECT_EQ(e.text_pair, "Ann, met \"B\".") << name;
      ASSERT_EQ(e.answers.size(), 1u) << name;
      EXPECT_EQ(e.answers[0].text, "Ann") << name;
      EXPECT_EQ(e.id, "1") << name;
    }
  }
}

TEST(QuestionReader, PredictionNeedsNoAnswers) {
  TempDir dir;
  EXPECT_EQ(read(dir, "a.jsonl", R"({"question": "Who?", "context": "Ann."})", false).size(), 1u);
  EXPECT_EQ(read(dir, "b.json", kNested, false).front().answers.size(), 0u);
}

TEST(QuestionReader, NamesFileLineAndIdOfWhatIsWrong) {
  TempDir dir;
  const auto complaint = [&](const std::string& name, const std::string& content) {
    return error_of([&] { read(dir, name, content); });
  };
  EXPECT_THAT(complaint("a.jsonl", R"({"question": "Who?", "answers": []})"),
              AllOf(HasSubstr("a.jsonl"), HasSubstr("no column 'context'"), HasSubstr("question, answers"),
                    HasSubstr("--text_pair_column")));
  EXPECT_THAT(complaint("a.jsonl", R"({"question": "Who?", "context": "Ann."})"),
              HasSubstr("no column 'answers'"));
  EXPECT_THAT(
      complaint(
          "a.jsonl",
          R"({"id": "x", "question": "Who?", "context": "A", "answers": {"text": ["A"], "answer_start": []}})"),
      AllOf(HasSubstr("line 1 (id x)"), HasSubstr("1 texts of answers, 0 of")));
  EXPECT_THAT(
      complaint(
          "a.jsonl",
          R"({"id": "x", "question": "Who?", "context": "A", "answers": {"text": ["A"], "answer_start": ["0"]}})"),
      HasSubstr("at answer_start \"0\""));
  EXPECT_THAT(complaint("a.jsonl", R"({"id": "x", "question": "Who?", "context": "A", "answers": null})"),
              HasSubstr("the answers are missing"));
  EXPECT_THAT(complaint("a.jsonl", R"({"question": "Who?", "context": 4, "answers": []})"
                                   "\n"
                                   R"({"question": "Who?", "context": null, "answers": []})"),
              HasSubstr("line 2: the column 'context' is null"));
  EXPECT_THAT(complaint("a.csv", "question,context,answers\nWho?,Ann,{'text': ['Ann']}\n"),
              AllOf(HasSubstr("line 2"), HasSubstr("is not json"), HasSubstr("json.dumps")));
  EXPECT_THAT(complaint("a.json", R"({"data": [{"paragraphs": [{"qas": []}]}]})"),
              HasSubstr("\"context\" is missing"));
  EXPECT_THAT(
      complaint(
          "a.json",
          R"({"data": [{"paragraphs": [{"context": "A", "qas": [{"question": "Q", "is_impossible": "no"}]}]}]})"),
      AllOf(HasSubstr("a.json: line 1"), HasSubstr("\"is_impossible\" is \"no\"")));
  EXPECT_THAT(complaint("a.json", R"({"data": [{"paragraphs": []}]})"), HasSubstr("no question in the file"));
  EXPECT_THAT(complaint("a.txt", "Who?\n"), HasSubstr("one text a line"));
}

// --- choices

std::vector<Example> read_choices(const TempDir& dir, const std::string& name, const std::string& content) {
  DatasetOptions options;
  options.choices = options.require_label = true;
  return Dataset::from_file(dir.write(name, content), options).examples();
}

TEST(ChoiceReader, ReadsSwagsColumns) {
  TempDir dir;
  const auto rows = read_choices(dir, "swag.csv",
                                 "video-id,sent1,sent2,ending0,ending1,ending2,label\n"
                                 "v,He sits.,He,eats.,runs.,flies.,2\nv,She sits.,She,eats.,runs.,,0\n");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].text, "He sits.");
  EXPECT_EQ(rows[0].text_pair, "He");
  EXPECT_THAT(rows[0].choices, ElementsAre("eats.", "runs.", "flies."));
  EXPECT_THAT(rows[0].labels, ElementsAre("2"));
  EXPECT_THAT(rows[1].choices, ElementsAre("eats.", "runs."));  // of unequal number
}

TEST(ChoiceReader, ReadsListsOfAnyLength) {
  TempDir dir;
  const auto rows =
      read_choices(dir, "a.jsonl",
                   R"({"context": "C.", "question": "Q?", "choices": ["a", "b", "c"], "label": 1})"
                   "\n"
                   R"({"question": "Q?", "choices": ["a", 5], "label": "0"})"
                   "\n");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].text, "C.");
  EXPECT_EQ(rows[0].text_pair, "Q?");
  EXPECT_EQ(rows[1].text, "Q?");
  EXPECT_EQ(rows[1].text_pair, "");
  EXPECT_THAT(rows[1].choices, ElementsAre("a", "5"));
}

TEST(ChoiceReader, RefusesRowsThatAreNoChoice) {
  TempDir dir;
  const auto complaint = [&](const std::string& row) {
    return error_of([&] {
      read_choices(dir, "a.jsonl",
                   R"({"question": "Q?", "choices": ["a", "b"], "label": 1})"
                   "\n" +
                       row);
    });
  };
  EXPECT_THAT(complaint(R"({"question": "Q?", "choices": ["a"], "label": 0})"),
              AllOf(HasSubstr("a.jsonl: line 2"), HasSubstr("only one choice")));
  EXPECT_THAT(complaint(R"({"question": "Q?", "choices": [], "label": 0})"), HasSubstr("no choices"));
  EXPECT_THAT(complaint(R"({"question": "Q?", "choices": ["a", "b"], "label": 2})"),
              AllOf(HasSubstr("line 2"), HasSubstr("the label '2' is none of the 2 choices (0..1)")));
  for (const char* label : {"-1", "0.5", "\"A\"", "\"0 \""})
    EXPECT_THAT(
        complaint(std::string(R"({"question": "Q?", "choices": ["a", "b"], "label": )") + label + "}"),
        HasSubstr("is none of the 2 choices"));
  EXPECT_THAT(complaint(R"({"question": "Q?", "choices": ["a", "b"]})"), HasSubstr("'label' is missing"));
  EXPECT_THAT(complaint(R"({"question": "Q?", "choices": ["a", null], "label": 0})"),
              HasSubstr("choice 1 is no text"));
  EXPECT_THAT(complaint(R"({"question": "Q?", "choices": "ab", "label": 0})"), HasSubstr("no list"));
  EXPECT_THAT(complaint(R"({"choices": ["a", "b"], "label": 0})"), HasSubstr("neither context nor question"));
  EXPECT_THAT(error_of([&] { read_choices(dir, "b.csv", "sent1,sent2,label\na,b,0\n"); }),
              HasSubstr("no column 'choices' or 'ending0'"));
  EXPECT_THAT(
      error_of([&] { read_choices(dir, "c.csv", "sent1,ending0,ending1,ending2,label\na,b,,c,0\n"); }),
      HasSubstr("'ending1' is empty and 'ending2' is not"));
}

}  // namespace
}  // namespace graft::data
