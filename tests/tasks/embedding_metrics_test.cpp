// Retrieval and correlation worked out by hand.
#include "tasks/embedding_metrics.h"

#include <cmath>

#include "support/shared.h"

namespace graft::tasks {
namespace {

struct Text {
  int32_t id;
  float x, y;
};

double metric_of(const MetricValues& values, const std::string& name) {
  for (const auto& [key, v] : values)
    if (key == name) return v;
  ADD_FAILURE() << "no " << name;
  return std::nan("");
}

// Each example's texts have one token, their id.
void add(EmbeddingMetrics& metrics, const std::vector<std::vector<Text>>& examples,
         const std::vector<float>& scores = {}) {
  data::RaggedBatch batch;
  std::vector<float> rows;
  for (size_t e = 0; e < examples.size(); ++e) {
    batch.begin_example(static_cast<int64_t>(e));
    for (const Text& t : examples[e]) {
      batch.append_sequence(&t.id, nullptr, 1, 0);
      rows.insert(rows.end(), {t.x, t.y});
    }
  }
  batch.float_labels = scores;
  metrics.add(batch, engine::make_tensor(rows.data(), batch.size(), 2));
}

// Documents by angle: 2 at 0, 4 at 10, 6 at 80 degrees (lengths do not matter).
const Text kDocuments[] = {{2, 3, 0}, {4, 0.985f, 0.174f}, {6, 0.174f, 0.985f}};

TEST(EmbeddingMetrics, RetrievalByHand) {
  EmbeddingMetrics m;
  // Query 1 at 2 degrees: 2 is first. Query 3 at 3 degrees: 4 is second. Query 5 at 0: 6 is third.
  add(m, {{{1, 0.9994f, 0.0349f}, kDocuments[0]}, {{3, 0.9986f, 0.0523f}, kDocuments[1]}});
  add(m, {{{5, 1, 0}, kDocuments[2]}});
  const MetricValues v = m.values();
  EXPECT_NEAR(metric_of(v, "mrr@10"), (1 + 1 / 2.0 + 1 / 3.0) / 3, 1e-12);
  EXPECT_NEAR(metric_of(v, "accuracy@1"), 1 / 3.0, 1e-12);
  EXPECT_NEAR(metric_of(v, "recall@3"), 1, 1e-12);
}

TEST(EmbeddingMetrics, EqualTextsCountOnceAndAllPositivesOfAnAnchorAreRelevant) {
  EmbeddingMetrics m;
  const Text query = {1, 1, 0};
  add(m, {{query, kDocuments[0]},
          {query, kDocuments[2]},
          {{7, 0, 1}, kDocuments[2]},
          {{7, 0, 1}, kDocuments[1]}});
  const MetricValues v = m.values();
  EXPECT_NEAR(metric_of(v, "mrr@10"), 1, 1e-12);  // two queries, each finds one of its own first
  EXPECT_NEAR(metric_of(v, "accuracy@1"), 1, 1e-12);
  EXPECT_NEAR(metric_of(v, "recall@1"), 0.5, 1e-12);  // of two
  EXPECT_NEAR(metric_of(v, "recall@3"), 1, 1e-12);
}

TEST(EmbeddingMetrics, NegativesAreSearchedTooAndOrdered) {
  EmbeddingMetrics m;
  add(m, {{{1, 1, 0}, kDocuments[1], kDocuments[0]}, {{5, 0, 1}, kDocuments[2], kDocuments[0]}});
  const MetricValues v = m.values();
  EXPECT_NEAR(metric_of(v, "mrr@10"), 0.75, 1e-12);
  EXPECT_NEAR(metric_of(v, "triplet_accuracy"), 0.5, 1e-12);
}

TEST(EmbeddingMetrics, ScoredPairsCorrelate) {
  EmbeddingMetrics m;
  const Text zero = {0, 1, 0};
  add(m, {{zero, kDocuments[0]}, {zero, kDocuments[1]}, {zero, kDocuments[2]}}, {0.9f, 0.5f, 0.7f});
  const MetricValues v = m.values();
  ASSERT_EQ(v.size(), 2u);
  EXPECT_NEAR(metric_of(v, "spearman"), 0.5, 1e-6);  // ranks 3 2 1 against 3 1 2
}

TEST(EmbeddingMetrics, PartsMergeToTheWhole) {
  const std::vector<std::vector<Text>> examples = {{{1, 0.9994f, 0.0349f}, kDocuments[0]},
                                                   {{3, 0.9986f, 0.0523f}, kDocuments[1]},
                                                   {{5, 1, 0}, kDocuments[2]},
                                                   {{1, 0.9994f, 0.0349f}, kDocuments[2]}};
  EmbeddingMetrics whole, merged;
  add(whole, examples);
  for (const auto& example : examples) {
    EmbeddingMetrics part;
    add(part, {example});
    merged.merge(part.partial());
  }
  merged.merge(EmbeddingMetrics().partial());  // a rank without a share
  for (const auto& [name, value] : whole.values())
    EXPECT_NEAR(metric_of(merged.values(), name), value, 1e-12) << name;
}

}  // namespace
}  // namespace graft::tasks
