// Losses of embeddings against their formulas in doubles, and their gradients against finite differences.
#include "tasks/embedding_loss.h"

#include <cmath>
#include <functional>

#include "base/philox.h"
#include "engine/basic_ops.h"
#include "support/shared.h"

namespace graft::tasks {
namespace {

using testing::HasSubstr;
using Matrix = std::vector<std::vector<double>>;

constexpr int64_t kWidth = 6;

struct LossCase {
  data::RaggedBatch batch;
  std::vector<float> embeddings;  // [sequences, kWidth]
  Matrix row(int text, int texts) const {
    Matrix out;
    for (size_t i = static_cast<size_t>(text); i < embeddings.size() / kWidth;
         i += static_cast<size_t>(texts))
      out.emplace_back(embeddings.begin() + static_cast<std::ptrdiff_t>(i * kWidth),
                       embeddings.begin() + static_cast<std::ptrdiff_t>((i + 1) * kWidth));
    return out;
  }
};

LossCase make_case(int examples, int texts, const std::vector<float>& scores = {}) {
  LossCase out;
  PhiloxStream draws(philox_key(7, 0, "embeddings"));
  for (int e = 0; e < examples; ++e) {
    out.batch.begin_example(e);
    for (int t = 0; t < texts; ++t) {
      const int32_t id = e * texts + t;
      out.batch.append_sequence(&id, nullptr, 1, id);
      for (int64_t c = 0; c < kWidth; ++c) out.embeddings.push_back(static_cast<float>(draws.normal()));
    }
  }
  out.batch.float_labels = scores;
  return out;
}

struct LossResult {
  double loss = 0, total = 0;
  std::vector<float> gradient;
};

LossResult loss_of(const LossCase& c, const EmbeddingLossOptions& o, std::vector<float> embeddings) {
  engine::ParameterStore none;
  none.allocate();
  none.allocate_grads();
  engine::Arena arena;
  engine::Tape tape(arena, none, {false, true});
  const auto rows = static_cast<int64_t>(embeddings.size()) / kWidth;
  const engine::Var x = tape.constant(engine::make_tensor(embeddings.data(), rows, kWidth));
  x->needs_grad = true;
  LossResult out;
  const engine::Var loss = embedding_loss(tape, x, c.batch, o, embedding_loss_terms(c.batch, o), &out.total);
  out.loss = tape.scalar(loss);
  tape.backward(loss);
  for (int64_t r = 0; r < rows; ++r)
    out.gradient.insert(out.gradient.end(), x->grad.row(r), x->grad.row(r) + kWidth);
  return out;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}
double plain_cosine(const std::vector<double>& a, const std::vector<double>& b) {
  return dot(a, b) / std::sqrt(dot(a, a) * dot(b, b));
}

// -log softmax of candidate i of query i, averaged.
double plain_ranking(const Matrix& queries, const Matrix& candidates, double scale) {
  double loss = 0;
  for (size_t i = 0; i < queries.size(); ++i) {
    double sum = 0;
    for (const auto& c : candidates) sum += std::exp(scale * plain_cosine(queries[i], c));
    loss += std::log(sum) - scale * plain_cosine(queries[i], candidates[i]);
  }
  return loss / static_cast<double>(queries.size());
}

// Expects the loss, the total of its terms, and gradients that fit finite differences.
void expect_loss(const LossCase& c, const EmbeddingLossOptions& o, double expected) {
  const LossResult got = loss_of(c, o, c.embeddings);
  EXPECT_NEAR(got.loss, expected, 1e-5 * std::max(1.0, expected));
  EXPECT_NEAR(got.total, expected * embedding_loss_terms(c.batch, o), 1e-4 * std::max(1.0, expected));
  const float h = 1e-2f;
  for (size_t i = 0; i < c.embeddings.size(); ++i) {
    std::vector<float> up = c.embeddings, down = c.embeddings;
    up[i] += h, down[i] -= h;
    const double slope = (loss_of(c, o, up).loss - loss_of(c, o, down).loss) / (2.0 * h);
    EXPECT_NEAR(got.gradient[i], slope, 5e-3) << "number " << i;
  }
}

TEST(EmbeddingLoss, MultipleNegativesRanking) {
  EmbeddingLossOptions o;
  o.scale = 4;
  const LossCase pairs = make_case(5, 2);
  expect_loss(pairs, o, plain_ranking(pairs.row(0, 2), pairs.row(1, 2), 4));
  const LossCase four = make_case(3, 4);  // two negatives
  Matrix candidates;
  for (int t = 1; t < 4; ++t)
    for (const auto& row : four.row(t, 4)) candidates.push_back(row);
  expect_loss(four, o, plain_ranking(four.row(0, 4), candidates, 4));
  EXPECT_EQ(EmbeddingLossOptions().scale, 20);
}

TEST(EmbeddingLoss, TheSymmetricOneAveragesBothDirections) {
  EmbeddingLossOptions o;
  o.kind = EmbeddingLossKind::multiple_negatives_symmetric;
  o.scale = 4;
  const LossCase c = make_case(4, 2);
  expect_loss(c, o,
              (plain_ranking(c.row(0, 2), c.row(1, 2), 4) + plain_ranking(c.row(1, 2), c.row(0, 2), 4)) / 2);
}

TEST(EmbeddingLoss, CoSent) {
  EmbeddingLossOptions o;
  o.kind = EmbeddingLossKind::cosent;
  o.scale = 3;
  const std::vector<float> scores = {0.1f, 0.9f, 0.1f, -0.5f};  // equal ones are not compared
  const LossCase c = make_case(4, 2, scores);
  double sum = 1;
  for (size_t i = 0; i < 4; ++i)
    for (size_t j = 0; j < 4; ++j)
      if (scores[i] > scores[j])
        sum += std::exp(3 * (plain_cosine(c.row(0, 2)[j], c.row(1, 2)[j]) -
                             plain_cosine(c.row(0, 2)[i], c.row(1, 2)[i])));
  expect_loss(c, o, std::log(sum));
  const LossCase equal = make_case(3, 2, {0.5f, 0.5f, 0.5f});
  EXPECT_EQ(loss_of(equal, o, equal.embeddings).loss, 0);
}

TEST(EmbeddingLoss, CosineSimilarity) {
  EmbeddingLossOptions o;
  o.kind = EmbeddingLossKind::cosine_similarity;
  const LossCase c = make_case(3, 2, {0.1f, 0.9f, -0.5f});
  double sum = 0;
  for (size_t i = 0; i < 3; ++i)
    sum += std::pow(plain_cosine(c.row(0, 2)[i], c.row(1, 2)[i]) - c.batch.float_labels[i], 2);
  expect_loss(c, o, sum / 3);
}

TEST(EmbeddingLoss, Triplet) {
  EmbeddingLossOptions o;
  o.kind = EmbeddingLossKind::triplet;
  const LossCase c = make_case(4, 3);
  const auto euclidean = [](const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) sum += std::pow(a[i] - b[i] + 1e-6, 2);
    return std::sqrt(sum);
  };
  const auto expected = [&](const auto& distance) {
    double sum = 0;
    for (size_t i = 0; i < 4; ++i)
      sum += std::max(0.0, distance(c.row(0, 3)[i], c.row(1, 3)[i]) -
                               distance(c.row(0, 3)[i], c.row(2, 3)[i]) + o.triplet_margin);
    return sum / 4;
  };
  expect_loss(c, o, expected(euclidean));
  o.cosine_distance = true;
  o.triplet_margin = 2;
  expect_loss(c, o, expected([](const auto& a, const auto& b) { return 1 - plain_cosine(a, b); }));
}

TEST(EmbeddingLoss, ExamplesThatALossDoesNotReadHaveNoTerm) {
  EmbeddingLossOptions ranking, cosent, triplet;
  cosent.kind = EmbeddingLossKind::cosent;
  triplet.kind = EmbeddingLossKind::triplet;
  const LossCase scored = make_case(3, 2, {0.1f, 0.2f, 0.3f}), pairs = make_case(3, 2);
  EXPECT_EQ(embedding_loss_terms(scored.batch, ranking), 0);
  EXPECT_EQ(embedding_loss_terms(pairs.batch, cosent), 0);
  EXPECT_EQ(embedding_loss_terms(pairs.batch, triplet), 0);
  EXPECT_EQ(embedding_loss_terms(scored.batch, cosent), 1);
  EXPECT_EQ(embedding_loss_terms(pairs.batch, ranking), 3);
  EXPECT_EQ(loss_of(pairs, cosent, pairs.embeddings).loss, 0);
}

TEST(EmbeddingLoss, NamesAreTheReferences) {
  for (const char* name : {"CoSENTLoss", "CoSENT"})
    EXPECT_EQ(parse_embedding_loss(name), EmbeddingLossKind::cosent);
  EXPECT_THAT(test::error_of([] { parse_embedding_loss("TripletLos"); }),
              HasSubstr("did you mean --loss TripletLoss?"));
}

}  // namespace
}  // namespace graft::tasks
