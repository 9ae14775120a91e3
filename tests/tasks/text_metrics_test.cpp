// ROUGE, chrF and exact match against the packages rouge-score and sacrebleu, and cases worked out by hand.
#include "tasks/text_metrics.h"

#include <cmath>
#include <cstdlib>

#include "base/json.h"
#include "support/shared.h"

namespace graft::tasks {
namespace {

double metric(const MetricValues& values, const std::string& name) {
  for (const auto& [key, v] : values)
    if (key == name) return v;
  return std::nan("");
}

double chrf(size_t word_order, const std::string& prediction, const std::string& reference) {
  ChrF metric(word_order);
  metric.add(prediction, reference);
  return metric.score();
}

// The fixture, or the lines of tests/interop/check_text_metrics.py.
std::filesystem::path reference_file() {
  const char* given = std::getenv("GRAFT_TEXT_METRICS");
  return given ? std::filesystem::path(given) : test::fixture_path("golden/text_metrics.json");
}

TEST(TextMetrics, EqualsThePackages) {
  const Json json = read_json(reference_file());
  TextMetrics all;
  for (const Json& row : json.at("rows")) {
    const auto p = row.at("prediction").get<std::string>(), r = row.at("reference").get<std::string>();
    SCOPED_TRACE("row " + row.dump());
    all.add(p, r);
    const RougeScores scores = rouge(p, r);
    EXPECT_NEAR(scores.rouge1, row.at("rouge1").get<double>(), 1e-14);
    EXPECT_NEAR(scores.rouge2, row.at("rouge2").get<double>(), 1e-14);
    EXPECT_NEAR(scores.rougeL, row.at("rougeL").get<double>(), 1e-14);
    EXPECT_NEAR(scores.rougeLsum, row.at("rougeLsum").get<double>(), 1e-14);
    EXPECT_NEAR(chrf(0, p, r), row.at("chrf").get<double>(), 1e-11);
    EXPECT_NEAR(chrf(2, p, r), row.at("chrf++").get<double>(), 1e-11);
  }
  const MetricValues values = all.values();
  EXPECT_EQ(values.size(), 7u);
  for (const auto& [name, v] : values) EXPECT_NEAR(v, json.at("all").at(name).get<double>(), 1e-10) << name;
}

// The example of rouge-score's README: "The quick brown fox jumps over the lazy dog" against "The quick brown
// dog jumps on the log." has 6 common words of 9 and 8 and a common subsequence of 5.
TEST(TextMetrics, RougeByHand) {
  const RougeScores s =
      rouge("The quick brown dog jumps on the log.", "The quick brown fox jumps over the lazy dog");
  EXPECT_NEAR(s.rouge1, 2 * 6.0 / 17, 1e-15);
  EXPECT_NEAR(s.rouge2, 2 * 2.0 / 15, 1e-15);
  EXPECT_NEAR(s.rougeL, 2 * 5.0 / 17, 1e-15);
  EXPECT_EQ(s.rougeLsum, s.rougeL);
}

// ROUGE sees nothing of Cyrillic, not even of equal texts; chrF does.
TEST(TextMetrics, OfAnotherScript) {
  TextMetrics m;
  m.add("привет мир", "привет мир");
  EXPECT_EQ(metric(m.values(), "rouge1"), 0);
  EXPECT_NEAR(metric(m.values(), "chrf"), 100, 1e-12);
  EXPECT_EQ(metric(m.values(), "exact_match"), 1);
}

TEST(TextMetrics, WhiteSpaceAtTheEndsDoesNotCount) {
  TextMetrics m;
  m.add(" yes\n", "yes");
  m.add("y es", "yes");
  m.add("", "\t");
  EXPECT_NEAR(metric(m.values(), "exact_match"), 2.0 / 3, 1e-15);
}

TEST(TextMetrics, WithoutAnExampleNothingIsDefined) {
  for (const auto& [name, v] : TextMetrics().values()) EXPECT_TRUE(std::isnan(v)) << name;
}

// Two processes with a part each give the bits of one.
TEST(TextMetrics, PartsMergeExactly) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"a b c", "a c"}, {"", "x"}, {"one two three", "one three two"}, {"день", "дни"}, {"q", "q"}};
  TextMetrics whole, first, second, merged;
  for (size_t i = 0; i < rows.size(); ++i) {
    whole.add(rows[i].first, rows[i].second);
    (i < 2 ? first : second).add(rows[i].first, rows[i].second);
  }
  merged.merge(first.partial());
  merged.merge(second.partial());
  EXPECT_EQ(merged.values(), whole.values());
}

}  // namespace
}  // namespace graft::tasks
