// Words with tags as tokens with labels.
#include "tasks/tagged_text.h"

#include <gmock/gmock.h>

#include "graft/log.h"
#include "support/shared.h"

namespace graft::tasks {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// [CLS] 2, [SEP] 3; "ungood" is un ##good; a word of a control character is nothing.
struct TaggedText : testing::Test {
  TaggedText() {
    dir.write("t/vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nun\n##good\nfilm\n.\na\n");
    dir.write("t/tokenizer_config.json", R"({"tokenizer_class": "BertTokenizer", "do_lower_case": true})");
    tokenizer = Tokenizer::from_pretrained(dir / "t");
  }
  TaggedFeatures features(const std::string& name, const std::string& text, TaggedTextOptions options = {}) {
    DatasetOptions columns;
    columns.tagged_words = true;
    set = Dataset::from_file(dir.write(name, text), columns);
    labels = data::LabelMap::for_training(set, {{}, false, "single_label_classification"}).names();
    return TaggedFeatures(set, *tokenizer, data::LabelMap::chosen(set, labels, "single_label_classification"),
                          options);
  }
  // "row:label" of each row of example i with a label.
  std::vector<std::string> rows(const TaggedFeatures& features, int64_t i) const {
    data::RaggedBatch batch;
    features.append(batch, i, i, -1);
    std::vector<std::string> out;
    for (size_t r = 0; r < batch.labels.size(); ++r)
      out.push_back(std::to_string(batch.label_rows[r]) + ":" + labels[static_cast<size_t>(batch.labels[r])]);
    return out;
  }
  test::TempDir dir;
  std::shared_ptr<Tokenizer> tokenizer;
  Dataset set;
  std::vector<std::string> labels;
};

TEST_F(TaggedText, TheFirstTokenOfAWordHasTheLabel) {
  const std::string text = "film\tO\nungood\tB-X\nungood\tI-X\n\na\tO\n";
  const TaggedFeatures first = features("a.conll", text);
  ASSERT_EQ(first.size(), 2);
  EXPECT_EQ(first.length(0), 7);
  EXPECT_THAT(rows(first, 0), ElementsAre("1:O", "2:B-X", "4:I-X"));
  EXPECT_THAT(rows(first, 1), ElementsAre("1:O"));
  EXPECT_THAT(rows(features("a.conll", text, {.label_all_tokens = true}), 0),
              ElementsAre("1:O", "2:B-X", "3:I-X", "4:I-X", "5:I-X"));
}

TEST_F(TaggedText, AWordWithoutTokensIsCounted) {
  const TaggedFeatures f = features("a.conll", "film\tO\n\x01\tB-X\na\tO\n");
  EXPECT_THAT(rows(f, 0), ElementsAre("1:O", "2:O"));
  EXPECT_EQ(f.counts().words_without_tokens, 1);
  EXPECT_EQ(f.counts().first_without_tokens, 2);
}

// Six tokens in windows of four with an overlap of two: [0, 4), [2, 6).
TEST_F(TaggedText, EveryLabelIsInOneWindow) {
  std::string text;
  for (int i = 0; i < 6; ++i) text += i % 2 ? "film\tO\n" : "a\tB-X\n";
  const TaggedFeatures whole = features("a.conll", text, {.max_seq_length = 6, .stride = 2});
  ASSERT_EQ(whole.size(), 1);
  EXPECT_EQ(whole.length(0), 12);
  EXPECT_THAT(rows(whole, 0), ElementsAre("1:B-X", "2:O", "3:B-X", "8:O", "9:B-X", "10:O"));
  const TaggedFeatures apart =
      features("a.conll", text, {.max_seq_length = 6, .stride = 2, .windows_apart = true});
  ASSERT_EQ(apart.size(), 2);
  EXPECT_THAT(rows(apart, 1), ElementsAre("2:O", "3:B-X", "4:O"));
}

// Tokens: film . un ##good a; the second span cuts "film".
TEST_F(TaggedText, SpansBecomeTagsOfWords) {
  const TaggedFeatures f = features("a.jsonl",
                                    "{\"text\": \"film. ungood a\", \"spans\": [[6, 14, \"X\"]]}\n"
                                    "{\"text\": \"film a\", \"spans\": [[1, 6, \"X\"]]}\n");
  EXPECT_THAT(rows(f, 0), ElementsAre("1:O", "2:O", "3:B-X", "5:I-X"));
  EXPECT_THAT(rows(f, 1), ElementsAre("1:B-X", "2:I-X"));
  EXPECT_EQ(f.counts().cut_spans, 1);
  EXPECT_EQ(f.counts().first_cut, 2);
}

TEST_F(TaggedText, AnUnknownTagIsNamedByItsLine) {
  features("a.conll", "film\tO\na\tB-X\n");
  const data::LabelMap map = data::LabelMap::chosen(set, labels, "single_label_classification");
  DatasetOptions columns;
  columns.tagged_words = true;
  const Dataset other = Dataset::from_file(dir.write("b.conll", "film\tO\n\na\tB-Y\n"), columns);
  EXPECT_THAT(test::error_of([&] { TaggedFeatures(other, *tokenizer, map, {}); }),
              HasSubstr("b.conll: line 3: label 'B-Y' is not a label of the model (B-X, O)"));
}

}  // namespace
}  // namespace graft::tasks
