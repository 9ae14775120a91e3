// CoNLL files, rows of words and tags, texts with spans, and the schemes of tags.
#include <gmock/gmock.h>

#include "data/tag_scheme.h"
#include "data/tagged_reader.h"
#include "graft/dataset.h"
#include "graft/log.h"
#include "support/shared.h"

namespace graft::data {
namespace {

using test::error_of;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct TaggedData : testing::Test {
  TaggedData() {
    before = set_log_sink([this](LogLevel, const std::string& text) { log += text + "\n"; });
  }
  ~TaggedData() override { set_log_sink(before); }
  Dataset read(const std::string& name, const std::string& content, DatasetOptions options = {}) {
    options.tagged_words = true;
    options.require_label = true;
    return Dataset::from_file(dir.write(name, content), options);
  }
  std::string error(const std::string& name, const std::string& content, const DatasetOptions& options = {}) {
    return error_of([&] { read(name, content, options); });
  }
  test::TempDir dir;
  std::string log;
  LogSink before;
};

// "word/tag" of every word, sentences separated by |.
std::string shown_words(const Dataset& set) {
  std::string out;
  for (const Example& e : set.examples()) {
    out += out.empty() ? "" : " |";
    for (const TaggedWord& w : e.words) out += (out.empty() ? "" : " ") + w.text + "/" + w.tag;
  }
  return out;
}

TEST_F(TaggedData, ConllWithTabsOrSpaces) {
  for (const auto& [name, text] : {std::pair{"a.conll", "New\tB-LOC\nYork\tI-LOC\n\n\nok\tO\n"},
                                   {"b.conll", "-DOCSTART- O\n\nNew B-LOC\nYork I-LOC\n \nok O"},
                                   {"c.txt", "New NNP x B-LOC\nYork NNP x I-LOC\n\nok UH x O\n"},
                                   {"d.tsv", "New\tB-LOC\r\nYork\tI-LOC\r\n\r\nok\tO\r\n"}}) {
    const Dataset set = read(name, text);
    EXPECT_EQ(shown_words(set), "New/B-LOC York/I-LOC | ok/O") << name;
    EXPECT_EQ(set.tag_scheme(), TagScheme::iob2);
    EXPECT_EQ(set.label_counts().size(), 3u);
  }
}

TEST_F(TaggedData, ColumnsOfConllByNumber) {
  DatasetOptions options;
  options.text_column = "2";
  options.label_column = "3";
  EXPECT_EQ(shown_words(read("a.conll", "1 New NNP B-LOC\n2 ok UH O\n", options)), "New/NNP ok/UH");
  options.label_column = "5";
  EXPECT_THAT(error("a.conll", "1 New NNP B-LOC\n", options),
              AllOf(HasSubstr("a.conll: there is no column '5': line 1 has 4 columns"),
                    HasSubstr("columns are numbered from 1: --label_column 4")));
}

TEST_F(TaggedData, ConlluHasNamesRangesAndComments) {
  const std::string text =
      "# sent_id = 1\n# text = Vámonos al mar\n1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_\n"
      "1\tVamos\tir\tVERB\tV\t_\t0\troot\t_\t_\n2\tnos\tnos\tPRON\tP\t_\t1\tobj\t_\t_\n"
      "2.1\tx\tx\tX\tX\t_\t1\tobj\t_\t_\n3\t#\tmar\tSYM\tS\t_\t1\tobl\t_\t_\n";
  EXPECT_EQ(shown_words(read("a.conllu", text)), "Vamos/VERB nos/PRON #/SYM");
  DatasetOptions options;
  options.text_column = "lemma";
  options.label_column = "XPOS";
  EXPECT_EQ(shown_words(read("a.conll", text, options)), "ir/V nos/P mar/S");
  EXPECT_EQ(read("a.conllu", text).tag_scheme(), TagScheme::none);
  options.label_column = "pos";
  EXPECT_THAT(error("a.conllu", text, options), HasSubstr("CoNLL-U names them, too: id, form, lemma, upos"));
}

// A line with # is a word where it has the columns of one.
TEST_F(TaggedData, HashesAreWordsOrComments) {
  EXPECT_EQ(shown_words(read("a.conll", "# id = 1\n#\tO\n#wow\tB-X\n\n# text\nok\tO\n")),
            "#/O #wow/B-X | ok/O");
  EXPECT_EQ(shown_words(read("b.conll", "# O\n")), "#/O");
}

TEST_F(TaggedData, BadConllIsNamedByItsLine) {
  EXPECT_THAT(error("a.conll", "New B-LOC\nYork\n"),
              AllOf(HasSubstr("a.conll: line 2: 1 column, but line 1 has 2: 'York'"),
                    HasSubstr("write the same columns on every line, separated by spaces")));
  EXPECT_THAT(error("a.conll", "New\tB-LOC\n\tO\n"), HasSubstr("line 2: the word is empty"));
  EXPECT_THAT(error("a.conll", "New\tB-LOC\nYork\t\n"), HasSubstr("line 2: the tag is empty"));
  EXPECT_THAT(error("a.conll", "New\nYork\n"), HasSubstr("line 1: one column, 'New': there is no tag"));
  EXPECT_THAT(error("a.conll", "\n\n"), HasSubstr("a.conll: no words"));
  DatasetOptions options;
  options.label_column = "1";
  EXPECT_THAT(error("a.conll", "New B-LOC\n", options), HasSubstr("words and tags are the same column"));
}

TEST_F(TaggedData, RowsOfWordsAndTags) {
  const std::string expected = "New/B-LOC York/I-LOC | ok/O";
  EXPECT_EQ(shown_words(read("a.jsonl",
                             "{\"tokens\": [\"New\", \"York\"], \"ner_tags\": [\"B-LOC\", \"I-LOC\"]}\n"
                             "{\"tokens\": [\"ok\"], \"ner_tags\": [\"O\"]}\n")),
            expected);
  EXPECT_EQ(shown_words(read("a.json", R"([{"words": ["New", "York"], "tags": ["B-LOC", "I-LOC"]},
                                           {"words": ["ok"], "tags": ["O"]}])")),
            expected);
  EXPECT_EQ(shown_words(read("a.csv", "words,tags\nNew York,B-LOC I-LOC\n\"[\"\"ok\"\"]\",O\n")), expected);
  const Dataset ids = read("b.jsonl", R"({"words": ["a", "b"], "labels": [0, 1]})");
  EXPECT_EQ(ids.label_kind(), LabelKind::integers);
  EXPECT_EQ(shown_words(ids), "a/0 b/1");
}

TEST_F(TaggedData, BadRowsAreNamedByTheirLine) {
  const std::string good = "{\"words\": [\"a\"], \"tags\": [\"O\"]}\n";
  EXPECT_THAT(error("a.jsonl", good + R"({"words": ["a", "b"], "tags": ["O"]})"),
              AllOf(HasSubstr("a.jsonl: line 2: 2 words but 1 tags"), HasSubstr("give each word its tag")));
  EXPECT_THAT(error("a.jsonl", good + R"({"words": "a b", "tags": ["O"]})"),
              HasSubstr("line 2: column 'words' is a text, not a list of words"));
  EXPECT_THAT(error("a.jsonl", good + R"({"words": ["a"], "tags": null})"),
              HasSubstr("line 2: column 'tags' is missing"));
  EXPECT_THAT(error("a.jsonl", good + R"({"words": ["a"], "tags": [1]})"),
              HasSubstr("line 2: the tag of word 1 is an id '1', but those of line 1 are names"));
  EXPECT_THAT(error("a.jsonl", good + R"({"words": [["a"]], "tags": ["O"]})"),
              HasSubstr("word 1 is no text"));
  EXPECT_THAT(
      error("a.jsonl", R"({"body": ["a"], "tags": ["O"]})"),
      AllOf(HasSubstr("no column of words or texts (columns: body, tags"), HasSubstr("--text_column")));
  EXPECT_THAT(error("a.jsonl", R"({"words": ["a"], "x": ["O"]})"),
              AllOf(HasSubstr("no column of tags (columns: words, x"), HasSubstr("--label_column")));
  read("a.jsonl", good + "{\"words\": [], \"tags\": []}\n");
  EXPECT_THAT(log, HasSubstr("1 rows without a word are left out (the first on line 2)"));
}

TEST_F(TaggedData, TextsWithSpans) {
  const Dataset set =
      read("a.jsonl",
           "{\"text\": \"Öl in Köln\", \"entities\": [{\"start\": 6, \"end\": 10, \"label\": \"LOC\"}]}\n"
           "{\"text\": \"b a\", \"entities\": [[2, 3, \"X\"], [0, 1, \"X\"]]}\n");
  ASSERT_EQ(set.size(), 2u);
  EXPECT_EQ(set[0].spans[0].begin, 6);
  EXPECT_EQ(set[1].spans[0].begin, 0);  // sorted
  std::vector<std::string> names;
  for (const LabelCount& c : set.label_counts()) names.push_back(c.label);
  EXPECT_THAT(names, ElementsAre("O", "B-LOC", "I-LOC", "B-X", "I-X"));
  const auto of = [](const std::string& spans) {
    return "{\"text\": \"\", \"spans\": []}\n{\"text\": \"a bc\", \"spans\": " + spans + "}\n";
  };
  EXPECT_THAT(error("b.jsonl", of(R"([[0, 5, "X"]])")),
              AllOf(HasSubstr("line 2: the span [0, 5) X reaches beyond the text of 4 characters"),
                    HasSubstr("code points")));
  EXPECT_THAT(error("b.jsonl", of(R"([[-1, 2, "X"]])")), HasSubstr("reaches beyond"));
  EXPECT_THAT(error("b.jsonl", of(R"([[2, 2, "X"]])")), HasSubstr("the span [2, 2) X is empty"));
  EXPECT_THAT(error("b.jsonl", of(R"([[1, 2, "X"]])")), HasSubstr("holds white space only"));
  EXPECT_THAT(error("b.jsonl", of(R"([[0, 3, "X"], [2, 4, "Y"]])")),
              HasSubstr("line 2: the span [0, 3) X ('a b') and the span [2, 4) Y ('bc') overlap"));
  EXPECT_THAT(error("b.jsonl", of(R"([{"start": 0, "end": 1}])")),
              HasSubstr("span 1 has no start, end and label"));
  EXPECT_THAT(error("b.jsonl", of(R"([[0.5, 1, "X"]])")), HasSubstr("span 1: \"start\" is no integer: 0.5"));
  EXPECT_THAT(error("b.jsonl", of("\"none\"")), HasSubstr("column 'spans' is no list of spans"));
}

TEST_F(TaggedData, SchemesAreFound) {
  const auto scheme = [&](const std::string& tags) {
    std::string text;
    for (const char c : tags)
      text += c == ' ' ? std::string("\n")
                       : std::string("w\t") + (c == 'O' ? "O" : std::string(1, c) + "-X") + "\n";
    return read("a.conll", text).tag_scheme();
  };
  EXPECT_EQ(scheme("BIO BBO"), TagScheme::iob2);
  EXPECT_EQ(scheme("OIIO IBI"), TagScheme::iob1);
  EXPECT_EQ(scheme("BIES OBE"), TagScheme::bioes);
  EXPECT_EQ(scheme("BILU OBL"), TagScheme::bilou);
  EXPECT_EQ(scheme("BIEL"), TagScheme::none);
  EXPECT_EQ(read("a.conll", "a\tNOUN\nb\tVERB\n").tag_scheme(), TagScheme::none);
  EXPECT_EQ(read("a.conll", "a\tB\nb\tI\nc\tO\n").tag_scheme(), TagScheme::iob2);
  read("b.conll", "a\tPER\nb\tB-LOC\n");
  EXPECT_THAT(log, HasSubstr("b.conll: line 1: the tag 'PER' has no prefix"));
}

// One I- that follows nothing: a warning, an error where the scheme is named, a B- where repair is asked for.
// B_ORG is no tag of a scheme: it is read as it is, and said.
TEST_F(TaggedData, TagsWithAnotherSign) {
  const Dataset d = read("a.conll", "U.N.\tB_ORG\nofficial\tO\n");
  EXPECT_EQ(d.tag_scheme(), TagScheme::none);
  EXPECT_THAT(log, AllOf(HasSubstr("a.conll: the tags, such as B_ORG, are read as classes of words"),
                         HasSubstr("(B-ORG)")));
  log.clear();
  read("b.conll", "a\tDET\nfilm\tNOUN\n");
  read("c.conll", "U.N.\tB-ORG\nofficial\tO\n");
  EXPECT_THAT(log, testing::Not(HasSubstr("classes of words")));
}

TEST_F(TaggedData, TagsThatBreakTheScheme) {
  const std::string text = "a\tB-X\nb\tI-X\nc\tB-X\n\nd\tO\ne\tI-X\nf\tI-Y\n";
  EXPECT_EQ(shown_words(read("a.conll", text)), "a/B-X b/I-X c/B-X | d/O e/I-X f/I-Y");
  EXPECT_THAT(log,
              HasSubstr("a.conll: 2 of 6 tags in 1 sentences break the scheme IOB2 (the first on line 6: 'e' "
                        "I-X behind O)"));
  DatasetOptions options;
  options.tag_scheme = "IOB2";
  EXPECT_THAT(error("a.conll", text, options),
              AllOf(HasSubstr("a.conll: 2 of 6 tags"), HasSubstr("line 6"), HasSubstr("--repair_tags true")));
  options.repair_tags = true;
  log.clear();
  EXPECT_EQ(shown_words(read("a.conll", text, options)), "a/B-X b/I-X c/B-X | d/O e/B-X f/B-Y");
  EXPECT_THAT(log, HasSubstr(": repaired"));
  options.tag_scheme = "bioes";
  EXPECT_EQ(shown_words(read("a.conll", text, options)), "a/B-X b/E-X c/S-X | d/O e/S-X f/S-Y");
  options.repair_tags = false;
  EXPECT_THAT(error("a.conll", "a\tB-X\nb\tL-X\n", options),
              HasSubstr("line 2: the tag 'L-X' is none of BIOES (--tag_scheme bioes)"));
  options.tag_scheme = "bmes";
  EXPECT_THAT(error("a.conll", text, options), HasSubstr("there are: iob1, iob2, bioes, bilou"));
  options.tag_scheme = "iob2";
  EXPECT_THAT(error("a.jsonl", R"({"words": ["a"], "tags": [0]})", options), HasSubstr("the tags are ids"));
}

TEST(TagScheme, BreaksOfEachScheme) {
  const auto breaks = [](const std::string& prefixes, TagScheme scheme) {
    std::vector<Tag> tags;
    for (const char c : prefixes) tags.push_back({c, c == 'O' ? -1 : 0});
    return breaks_of(tags, scheme).count;
  };
  EXPECT_EQ(breaks("OBIIOB", TagScheme::iob2), 0);
  EXPECT_EQ(breaks("IOI", TagScheme::iob2), 2);
  EXPECT_EQ(breaks("OIIBIO", TagScheme::iob1), 0);
  EXPECT_EQ(breaks("BOB", TagScheme::iob1), 2);
  EXPECT_EQ(breaks("BIESOBE", TagScheme::bioes), 0);
  EXPECT_EQ(breaks("BOIE", TagScheme::bioes), 2);
  EXPECT_EQ(breaks("B", TagScheme::bioes), 1);
  EXPECT_EQ(breaks("UBLO", TagScheme::bilou), 0);
}

TEST(TagScheme, TagsOfEntitiesAndBack) {
  const std::vector<TaggedEntity> entities = {{0, 2, 0}, {2, 3, 0}, {4, 7, 1}};
  for (const TagScheme scheme : {TagScheme::iob1, TagScheme::iob2, TagScheme::bioes, TagScheme::bilou}) {
    const std::vector<Tag> tags = tags_of(entities, 8, scheme);
    EXPECT_EQ(breaks_of(tags, scheme).count, 0);
    EXPECT_EQ(strict_entities(tags, scheme), entities) << name_of(scheme);
  }
}

}  // namespace
}  // namespace graft::data
