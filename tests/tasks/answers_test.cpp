// Answers compared as the official scripts do, searched over windows, and scored over a set.
#include "tasks/answer_search.h"
#include "tasks/answer_text.h"
#include "tasks/question_metrics.h"
#include "train/tiny_run.h"

namespace graft::tasks {
namespace {
using namespace graft::test;
using testing::ElementsAre;
using testing::IsEmpty;

// SQuAD's normalize_answer.
TEST(AnswerText, EnglishIsThatOfSquad) {
  EXPECT_THAT(answer_words("The  Cat, a DOG!", "en"), ElementsAre("cat", "dog"));
  EXPECT_THAT(answer_words("theatre an-other a", "en"), ElementsAre("theatre", "another"));
  EXPECT_THAT(answer_words("the", "en"), IsEmpty());
  EXPECT_THAT(answer_words("“the” 5–0", "en"), ElementsAre("“", "”", "5–0"));  // punctuation of ASCII only
  EXPECT_THAT(answer_words("a\u00A0the\u3000B", "en"), ElementsAre("b"));      // white space of Unicode
  EXPECT_THAT(answer_words("the_a a_", "en"), ElementsAre("thea"));            // "_" is punctuation
}

// MLQA's normalize_answer.
TEST(AnswerText, OtherLanguagesAreThoseOfMlqa) {
  EXPECT_THAT(answer_words("Der Hund, den die Katze sah", "de"), ElementsAre("hund", "katze", "sah"));
  EXPECT_THAT(answer_words("«El Niño»", "es"), ElementsAre("niño"));
  EXPECT_THAT(answer_words("Những cái của", "vi"), IsEmpty());
  EXPECT_THAT(answer_words("the “Cat”", "hi"), ElementsAre("the", "cat"));
  EXPECT_THAT(answer_words("الكتاب والكتاب", "ar"), ElementsAre("كتاب", "و", "كتاب"));
  EXPECT_THAT(answer_words("黑豹队,NFL 2015年", "zh"), ElementsAre("黑", "豹", "队", "nfl", "2015", "年"));
  EXPECT_THAT(answer_words("Не а the", "other"), ElementsAre("не", "а", "the"));
}

TEST(AnswerText, ExactMatchAndF1TakeTheBestAnswer) {
  const QuestionSettings v1;
  const AnswerScore s = score_answer("the Denver Broncos team", {"Broncos", "Denver Broncos"}, v1);
  EXPECT_EQ(s.exact, 0);
  EXPECT_DOUBLE_EQ(s.f1, 2 * (2.0 / 3) * 1 / (2.0 / 3 + 1));
  EXPECT_EQ(score_answer("Denver  Broncos.", {"Broncos", "a denver broncos"}, v1).exact, 1);
  EXPECT_DOUBLE_EQ(score_answer("b b c", {"b c c"}, v1).f1,
                   2.0 / 3);  // words count as often as they are there
  // Both without words: exact, but the F1 of evaluate-v1.1.py is 0, that of evaluate-v2.0.py 1.
  EXPECT_EQ(score_answer("the", {"a"}, v1).exact, 1);
  EXPECT_EQ(score_answer("the", {"a"}, v1).f1, 0);
  QuestionSettings v2;
  v2.version_2_with_negative = true;
  EXPECT_EQ(score_answer("", {}, v2).f1, 1);
  EXPECT_EQ(score_answer("x", {}, v2).f1, 0);
  EXPECT_EQ(score_answer("", {"x"}, v2).f1, 0);
  EXPECT_EQ(score_answer("", {"the", "x"}, v2).exact, 0);  // answers without words do not count
}

// Rows of many scripts and all rules, scored by tests/interop/answer_scripts.py.
TEST(AnswerText, EqualsTheOfficialScripts) {
  GRAFT_SHARED_PATH(file, "golden/answers.json");
  int rows = 0;
  for (const Json& row : read_json(file)) {
    QuestionSettings s;
    s.language = row.at("language").get<std::string>();
    s.version_2_with_negative = row.at("version_2").get<bool>();
    const AnswerScore got = score_answer(row.at("prediction").get<std::string>(),
                                         row.at("answers").get<std::vector<std::string>>(), s);
    EXPECT_EQ(got.exact, row.at("exact").get<double>()) << row.dump();
    EXPECT_NEAR(got.f1, row.at("f1").get<double>(), 1e-12) << row.dump();
    ++rows;
  }
  EXPECT_GE(rows, 240);
}

// Logits of one window: [CLS] q [SEP] c0 c1 c2 [SEP], each token of the context two characters.
class Window {
 public:
  explicit Window(const std::vector<std::pair<float, float>>& rows) {
    for (const auto& [start, end] : rows) values_.insert(values_.end(), {start, end});
    for (int32_t i = 0; i + 4 < static_cast<int32_t>(rows.size()); ++i)
      offsets_.emplace_back(2 * i, 2 * i + 2);
  }
  void add_to(AnswerSearch& search, const QuestionSettings& settings, int32_t shift = 0) {
    auto offsets = offsets_;
    for (auto& [begin, end] : offsets) begin += shift, end += shift;
    search.add(engine::make_tensor(values_.data(), static_cast<int64_t>(values_.size() / 2), 2), 0,
               static_cast<int32_t>(values_.size() / 2),
               {3, static_cast<int32_t>(offsets.size()), offsets.data()}, settings);
  }

 private:
  std::vector<float> values_;
  std::vector<std::pair<int32_t, int32_t>> offsets_;
};

TEST(AnswerSearch, FindsSpansOfTheContextOnly) {
  QuestionSettings s;
  s.max_answer_length = 2;
  AnswerSearch search;
  // The best start is the question's, the best end before the best start, the longest span too long.
  Window({{1, 1}, {9, 9}, {0, 0}, {3, 5}, {4, 1}, {0, 4}, {8, 8}}).add_to(search, s);
  ASSERT_FALSE(search.spans().empty());
  // 4 + 4 and 3 + 5 are equal: the larger start is first.
  EXPECT_EQ(search.spans()[0].begin, 2);
  EXPECT_EQ(search.spans()[1].begin, 0);
  EXPECT_EQ(search.spans().size(), 5u);
  EXPECT_EQ(search.spans()[0].score(), 8);
  for (const AnswerCandidate& c : search.spans()) EXPECT_LE(c.end - c.begin, 4);
}

TEST(AnswerSearch, KeepsTheBestOverWindowsAndTheLeastNull) {
  QuestionSettings s;
  s.n_best_size = 2;
  s.version_2_with_negative = true;
  AnswerSearch search;
  Window({{2, 2}, {0, 0}, {0, 0}, {3, 0}, {0, 1}, {0, 0}}).add_to(search, s);
  Window({{1, 0}, {0, 0}, {0, 0}, {5, 0}, {0, 1}, {0, 0}}).add_to(search, s, 10);
  EXPECT_EQ(search.spans().size(), 2u);
  EXPECT_EQ(search.spans()[0].begin, 10);
  EXPECT_EQ(search.none().score(), 1);
  EXPECT_EQ(search.none_above_best(), 1 - 6);
  EXPECT_FALSE(search.answer(s).is_none());
  s.null_score_diff_threshold = -6;
  EXPECT_TRUE(search.answer(s).is_none());
  // "No answer" is listed even where it is not among the best.
  EXPECT_EQ(search.ranked(s).size(), 3u);
  EXPECT_TRUE(search.ranked(s).back().is_none());
}

TEST(AnswerSearch, AWindowWithoutASpanHasNoAnswer) {
  QuestionSettings s;
  AnswerSearch search;
  Window({{0, 0}, {0, 0}, {0, 0}, {0, 0}}).add_to(search, s);
  EXPECT_TRUE(search.answer(s).is_none());
  EXPECT_TRUE(search.ranked(s).empty());
}

// Four questions by hand: two with an answer, two without.
TEST(Version2, BestThresholdsAreThoseOfTheOfficialScript) {
  // has_answer, exact, f1, span_exact, span_f1, none_above_best
  const MetricValues values = version_2_values(
      {{true, 1, 1, 1, 1, -5}, {false, 0, 0, 0, 0, -4}, {true, 0, 0, 0, 0.5, -3}, {false, 1, 1, 0, 0, 2}});
  const auto value = [&](const std::string& name) {
    for (const auto& [key, v] : values)
      if (key == name) return v;
    return -1.0;
  };
  EXPECT_EQ(value("exact"), 50);
  EXPECT_EQ(value("total"), 4);
  EXPECT_EQ(value("HasAns_exact"), 50);
  EXPECT_EQ(value("NoAns_f1"), 50);
  // From 2 right (all "no answer"): 3 at -5, 2 at -4, 2.5 at -3, 1.5 at 2.
  EXPECT_EQ(value("best_exact"), 75);
  EXPECT_EQ(value("best_exact_thresh"), -5);
  EXPECT_EQ(value("best_f1"), 75);
}

Example question(const std::string& text, const std::string& context, std::vector<AnswerSpan> answers) {
  Example e;
  e.text = text;
  e.text_pair = context;
  e.has_pair = true;
  e.answers = std::move(answers);
  return e;
}

// The windows of two questions, in batches of any size and over two parts.
TEST(QuestionMetrics, DoNotDependOnBatchesAndParts) {
  const TinyRun run;
  QuestionSettings s;
  s.max_seq_length = 8;
  s.doc_stride = 2;
  const QuestionFeatures features({question("up", "ba be bi bo bu da de di do", {{"bi bo", 6}}),
                                   question("down", "red ba be bi bo bu da", {{"red", 0}})},
                                  "", *run.tokenizer(), s, true);
  ASSERT_GT(features.size(), 4);
  const auto logit = [](int64_t window, int64_t row, int64_t column) {
    return static_cast<float>((window * 31 + row * 17 + column * 7) % 23);
  };
  const auto run_over = [&](QuestionMetrics& metrics, int64_t begin, int64_t end, int64_t size) {
    for (int64_t i = begin; i < end; i += size) {
      data::RaggedBatch batch;
      std::vector<float> logits;
      for (int64_t w = i; w < std::min(end, i + size); ++w) {
        features.append(batch, w, w, -1);
        for (int32_t r = 0; r < features.length(w); ++r)
          logits.insert(logits.end(), {logit(w, r, 0), logit(w, r, 1)});
      }
      metrics.add(batch, engine::make_tensor(logits.data(), batch.rows(), 2));
    }
  };
  QuestionMetrics whole(&features, s), single(&features, s), first(&features, s), second(&features, s);
  run_over(whole, 0, features.size(), 100);
  run_over(single, 0, features.size(), 1);
  run_over(first, 0, 2, 2);  // cuts the first question
  run_over(second, 2, features.size(), 3);
  QuestionMetrics both(&features, s);
  both.merge(first.partial());
  both.merge(second.partial());
  EXPECT_EQ(whole.partial(), single.partial());
  EXPECT_EQ(whole.partial(), both.partial());
  EXPECT_EQ(whole.values(), both.values());
  EXPECT_EQ(value_of(whole.values(), "total"), 2);
}

}  // namespace
}  // namespace graft::tasks
