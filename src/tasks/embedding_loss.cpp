#include "tasks/embedding_loss.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/nearest.h"
#include "engine/basic_ops.h"
#include "tasks/sequence_classification.h"

namespace graft::tasks {

using engine::Over;
using engine::Tape;
using engine::Tensor;
using engine::Var;

namespace {

constexpr std::pair<EmbeddingLossKind, const char*> kLossNames[] = {
    {EmbeddingLossKind::multiple_negatives, "MultipleNegativesRankingLoss"},
    {EmbeddingLossKind::multiple_negatives_symmetric, "MultipleNegativesSymmetricRankingLoss"},
    {EmbeddingLossKind::cosent, "CoSENTLoss"},
    {EmbeddingLossKind::cosine_similarity, "CosineSimilarityLoss"},
    {EmbeddingLossKind::triplet, "TripletLoss"}};

int32_t texts_of(const data::RaggedBatch& batch) {
  return batch.num_examples() == 0 ? 0 : batch.cu_examples[1] - batch.cu_examples[0];
}

// Text `column` of each example.
Var column_of(Tape& tape, Var embeddings, const data::RaggedBatch& batch, int32_t column) {
  const int32_t n = batch.num_examples();
  auto* rows = tape.push_array<int32_t>(n);
  for (int32_t e = 0; e < n; ++e) rows[e] = batch.cu_examples[static_cast<size_t>(e)] + column;
  return engine::gather(tape, embeddings, rows, n);
}

// Columns [1, texts): all positives, then all first negatives, ...
Var documents_of(Tape& tape, Var embeddings, const data::RaggedBatch& batch) {
  const int32_t n = batch.num_examples(), texts = texts_of(batch);
  auto* rows = tape.push_array<int32_t>(int64_t{n} * (texts - 1));
  for (int32_t c = 1; c < texts; ++c)
    for (int32_t e = 0; e < n; ++e) rows[(c - 1) * n + e] = batch.cu_examples[static_cast<size_t>(e)] + c;
  return engine::gather(tape, embeddings, rows, int64_t{n} * (texts - 1));
}

Var number(Tape& tape, double value) {
  auto* host = tape.push_array<float>(1);
  *host = static_cast<float>(value);
  return tape.constant(engine::make_tensor(const_cast<float*>(tape.on_device(host, 1)), 1, 1));
}

// Cosine of each pair, [N,1].
Var cosines(Tape& tape, Var a, Var b) {
  return engine::reduce_sum(tape, engine::mul(tape, engine::normalize(tape, a), engine::normalize(tape, b)),
                            Over::columns);
}

// Sum of [N,1] / denominator.
Var sum_of(Tape& tape, Var terms, double denominator, double* total) {
  if (total && !tape.planning()) {
    const Tensor host = tape.on_host(terms->data);
    for (int64_t i = 0; i < host.rows; ++i) *total += *host.row(i);
  }
  return engine::scale(tape, engine::reduce_sum(tape, terms, Over::all), static_cast<float>(1 / denominator));
}

Var multiple_negatives(Tape& tape, Var embeddings, const data::RaggedBatch& batch,
                       const EmbeddingLossOptions& o, double denominator, double* total) {
  const int32_t n = batch.num_examples();
  auto* labels = tape.push_array<int32_t>(n);
  for (int32_t i = 0; i < n; ++i) labels[i] = i;
  const auto scale = static_cast<float>(o.scale);
  const Var anchors = engine::normalize(tape, column_of(tape, embeddings, batch, 0));
  const Var documents = engine::normalize(tape, documents_of(tape, embeddings, batch));
  const Var scores = engine::scale(tape, engine::matmul_transposed(tape, anchors, documents), scale);
  if (o.kind == EmbeddingLossKind::multiple_negatives)
    return engine::cross_entropy(tape, scores, labels, denominator, total);
  const Var positives = engine::normalize(tape, column_of(tape, embeddings, batch, 1));
  const Var back = engine::scale(tape, engine::matmul_transposed(tape, positives, anchors), scale);
  double both = 0;
  double* sum = total ? &both : nullptr;
  const Var forth = engine::cross_entropy(tape, scores, labels, 2 * denominator, sum);
  const Var loss = engine::add(tape, forth, engine::cross_entropy(tape, back, labels, 2 * denominator, sum));
  if (total) *total += both / 2;
  return loss;
}

// Pairs of examples, the first of which has the higher score.
struct Ranked {
  int32_t *low, *high;
  int64_t n;
};

Ranked ranked_pairs(Tape& tape, const std::vector<float>& scores) {
  int64_t n = 0;
  for (const float a : scores)
    n += std::count_if(scores.begin(), scores.end(), [&](float b) { return b < a; });
  Ranked out{tape.push_array<int32_t>(n), tape.push_array<int32_t>(n), 0};
  for (size_t i = 0; i < scores.size(); ++i)
    for (size_t j = 0; j < scores.size(); ++j) {
      if (scores[j] >= scores[i]) continue;
      out.high[out.n] = static_cast<int32_t>(i);
      out.low[out.n++] = static_cast<int32_t>(j);
    }
  return out;
}

// log(1 + sum exp(x)), shifted by the largest x so that no exp overflows.
Var log_sum_with_one(Tape& tape, Var x) {
  float shift = 0;
  if (!tape.planning()) {
    const Tensor host = tape.on_host(x->data);
    for (int64_t i = 0; i < host.rows; ++i) shift = std::max(shift, *host.row(i));
  }
  const Var sum =
      engine::reduce_sum(tape, engine::exp(tape, engine::sub(tape, x, number(tape, shift))), Over::all);
  return engine::add(tape, engine::log(tape, engine::add(tape, sum, number(tape, std::exp(-double{shift})))),
                     number(tape, shift));
}

Var cosent(Tape& tape, Var embeddings, const data::RaggedBatch& batch, const EmbeddingLossOptions& o,
           double denominator, double* total) {
  const Var scores = engine::scale(
      tape, cosines(tape, column_of(tape, embeddings, batch, 0), column_of(tape, embeddings, batch, 1)),
      static_cast<float>(o.scale));
  const Ranked pairs = ranked_pairs(tape, batch.float_labels);
  if (pairs.n == 0) return engine::scale(tape, engine::reduce_sum(tape, scores, Over::all), 0);  // log(1)
  const Var x = engine::sub(tape, engine::gather(tape, scores, pairs.low, pairs.n),
                            engine::gather(tape, scores, pairs.high, pairs.n));
  return sum_of(tape, log_sum_with_one(tape, x), denominator, total);
}

// torch.nn.functional.pairwise_distance adds 1e-6 to each difference.
Var distance(Tape& tape, Var a, Var b, bool cosine) {
  if (cosine) return engine::sub(tape, engine::scale(tape, cosines(tape, a, b), -1), number(tape, -1));
  return engine::norm(tape, engine::add(tape, engine::sub(tape, a, b), number(tape, 1e-6)));
}

Var triplet(Tape& tape, Var embeddings, const data::RaggedBatch& batch, const EmbeddingLossOptions& o,
            double denominator, double* total) {
  const Var anchor = column_of(tape, embeddings, batch, 0);
  const Var positive = distance(tape, anchor, column_of(tape, embeddings, batch, 1), o.cosine_distance);
  const Var negative = distance(tape, anchor, column_of(tape, embeddings, batch, 2), o.cosine_distance);
  const Var gap = engine::add(tape, engine::sub(tape, positive, negative), number(tape, o.triplet_margin));
  return sum_of(tape, engine::activate(tape, gap, engine::Activation::relu), denominator, total);
}

}  // namespace

EmbeddingLossKind parse_embedding_loss(const std::string& name) {
  std::vector<std::string> known;
  for (const auto& [kind, full] : kLossNames) {
    if (name == full || name + "Loss" == full) return kind;
    known.emplace_back(full);
  }
  const std::string near = nearest_name(name, known);
  if (name == kCrossEncoderLoss)
    throw UsageError(fmt::format("--loss {} trains a cross-encoder, not embeddings", name),
                     "give --task sequence-classification");
  throw UsageError(fmt::format("--loss {} is not known; there are: {}", name, fmt::join(known, ", ")),
                   near.empty() ? "" : "did you mean --loss " + near + "?");
}

const char* embedding_loss_name(EmbeddingLossKind kind) {
  return kLossNames[static_cast<size_t>(kind)].second;
}

double embedding_loss_terms(const data::RaggedBatch& batch, const EmbeddingLossOptions& o) {
  const int32_t n = batch.num_examples();
  if (n == 0 || o.reads_scores() == batch.float_labels.empty()) return 0;
  if (o.kind == EmbeddingLossKind::triplet && texts_of(batch) != 3) return 0;
  return o.kind == EmbeddingLossKind::cosent ? 1 : n;
}

Var embedding_loss(Tape& tape, Var embeddings, const data::RaggedBatch& batch, const EmbeddingLossOptions& o,
                   double denominator, double* total) {
  if (embedding_loss_terms(batch, o) == 0)
    return engine::scale(tape, engine::reduce_sum(tape, embeddings, Over::all), 0);
  switch (o.kind) {
    case EmbeddingLossKind::cosent:
      return cosent(tape, embeddings, batch, o, denominator, total);
    case EmbeddingLossKind::triplet:
      return triplet(tape, embeddings, batch, o, denominator, total);
    case EmbeddingLossKind::cosine_similarity: {
      const Var cosine =
          cosines(tape, column_of(tape, embeddings, batch, 0), column_of(tape, embeddings, batch, 1));
      const Tensor targets =
          engine::make_tensor(const_cast<float*>(batch.float_labels.data()), batch.num_examples(), 1);
      return engine::squared_error(tape, cosine, targets, denominator, total);
    }
    default:
      return multiple_negatives(tape, embeddings, batch, o, denominator, total);
  }
}

}  // namespace graft::tasks
