// Entity metrics against seqeval, and cases worked out by hand.
#include "tasks/token_metrics.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/json.h"
#include "support/shared.h"

namespace graft::tasks {
namespace {

double number_of(const MetricValues& values, const std::string& name) {
  for (const auto& [key, v] : values)
    if (key == name) return v;
  ADD_FAILURE() << "no metric " << name;
  return std::nan("");
}

std::vector<int> ids_of(const std::vector<std::string>& labels, const Json& tags) {
  std::vector<int> ids;
  for (const Json& tag : tags)
    ids.push_back(
        static_cast<int>(std::find(labels.begin(), labels.end(), tag.get<std::string>()) - labels.begin()));
  return ids;
}

TagScheme scheme_of(const std::string& name) {
  return name == "IOB1"    ? TagScheme::iob1
         : name == "IOB2"  ? TagScheme::iob2
         : name == "BILOU" ? TagScheme::bilou
                           : TagScheme::bioes;
}

// The fixture, or the cases of tests/interop/check_seqeval.py.
TEST(TokenMetrics, EqualsSeqeval) {
  const char* given = std::getenv("GRAFT_TOKEN_METRICS");
  const std::filesystem::path file =
      given ? std::filesystem::path(given) : test::fixture_path("golden/token_metrics.json");
  const Json json = read_json(file);
  for (const Json& row : json.at("cases")) {
    SCOPED_TRACE(row.dump());
    std::vector<std::string> labels;
    for (const Json& label : row.at("labels")) labels.push_back(label.get<std::string>());
    TokenMetricOptions options;
    options.per_type = true;
    options.strict = row.contains("scheme");
    if (options.strict) options.scheme = scheme_of(row.at("scheme").get<std::string>());
    TokenCounts counts(labels, options);
    for (size_t i = 0; i < row.at("truth").size(); ++i)
      counts.add(ids_of(labels, row.at("truth")[i]), ids_of(labels, row.at("predictions")[i]));
    const MetricValues values = counts.values();
    for (const auto& [name, value] : row.at("expected").items())
      EXPECT_NEAR(number_of(values, name), value.get<double>(), 1e-12) << name;
  }
}

const std::vector<std::string> kLabels = {"O", "B-X", "I-X", "B-Y", "I-Y"};

// Entities 0-1 X and 3 Y; predicted 0 X (too short) and 3 Y.
TEST(TokenMetrics, ByHand) {
  TokenCounts counts(kLabels, {.per_type = true});
  counts.add({1, 2, 0, 3}, {1, 0, 0, 3});
  const MetricValues v = counts.values();
  EXPECT_EQ(number_of(v, "precision"), 0.5);
  EXPECT_EQ(number_of(v, "recall"), 0.5);
  EXPECT_EQ(number_of(v, "f1"), 0.5);
  EXPECT_EQ(number_of(v, "accuracy"), 0.75);
  EXPECT_EQ(number_of(v, "X_f1"), 0);
  EXPECT_EQ(number_of(v, "Y_f1"), 1);
  EXPECT_EQ(number_of(v, "Y_number"), 1);
  EXPECT_EQ(number_of(v, "f1_macro"), 0.5);
}

// I- without B-: an entity by default, none in strict mode.
TEST(TokenMetrics, StrictReadsTheScheme) {
  for (const bool strict : {false, true}) {
    TokenCounts counts(kLabels, {.scheme = TagScheme::iob2, .strict = strict});
    counts.add({0, 1, 2}, {0, 2, 2});
    EXPECT_EQ(number_of(counts.values(), "f1"), strict ? 0 : 1);
  }
}

TEST(TokenMetrics, NothingAndNoEntities) {
  TokenCounts nothing(kLabels, {.per_type = true});
  EXPECT_TRUE(std::isnan(number_of(nothing.values(), "accuracy")));
  nothing.add({0, 0}, {0, 0});
  EXPECT_EQ(number_of(nothing.values(), "f1"), 0);
  EXPECT_EQ(number_of(nothing.values(), "accuracy"), 1);
  TokenCounts classes({"NOUN", "VERB", "X"}, {});
  classes.add({0, 0, 1, 1}, {0, 1, 1, 1});
  EXPECT_FALSE(classes.has_entities());
  EXPECT_EQ(number_of(classes.values(), "accuracy"), 0.75);
  EXPECT_NEAR(number_of(classes.values(), "f1_macro"), (2 / 3.0 + 0.8) / 2, 1e-15);  // X does not occur
}

TEST(TokenMetrics, PartsMergeExactly) {
  TokenCounts all(kLabels, {.per_type = true}), a(kLabels, {.per_type = true}),
      b(kLabels, {.per_type = true});
  const std::vector<int> truth = {1, 2, 0, 3, 4}, other = {1, 0, 0, 3, 4};
  for (TokenCounts* c : {&all, &a}) c->add(truth, other);
  for (TokenCounts* c : {&all, &b}) c->add(other, truth);
  a.merge(b.partial());
  EXPECT_EQ(a.values(), all.values());
  EXPECT_THAT(test::error_of([&] { a.merge({1, 2}); }), testing::HasSubstr("are the labels the same?"));
}

}  // namespace
}  // namespace graft::tasks
