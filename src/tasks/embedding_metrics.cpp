#include "tasks/embedding_metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "base/error.h"
#include "engine/basic_ops.h"

namespace graft::tasks {
namespace {

constexpr size_t kFirst[] = {1, 3, 5, 10};  // k of accuracy@k and recall@k
constexpr size_t kMostRead = 10;            // places that a metric reads
constexpr int64_t kQueriesAtOnce = 256;

// The documents with the largest scores, best first; of equal ones the earlier.
std::vector<int32_t> best_of(const float* scores, size_t n) {
  std::vector<int32_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  const size_t read = std::min(kMostRead, n);
  std::partial_sort(
      order.begin(), order.begin() + static_cast<std::ptrdiff_t>(read), order.end(),
      [&](int32_t a, int32_t b) { return scores[a] != scores[b] ? scores[a] > scores[b] : a < b; });
  order.resize(read);
  return order;
}

// Sums over queries.
struct RetrievalSums {
  double accuracy[4] = {}, recall[4] = {}, reciprocal = 0;
  void add(const std::vector<int32_t>& found, const std::set<int32_t>& relevant) {
    size_t hits = 0;
    for (size_t place = 0, k = 0; k < 4; ++k) {
      for (; place < std::min(kFirst[k], found.size()); ++place) {
        if (!relevant.count(found[place])) continue;
        if (hits++ == 0) reciprocal += 1 / static_cast<double>(place + 1);
      }
      accuracy[k] += hits > 0;
      recall[k] += static_cast<double>(hits) / static_cast<double>(relevant.size());
    }
  }
};

// Rows of `values` for the given texts, [n, width].
std::vector<float> rows_of(const std::vector<float>& values, size_t width,
                           const std::vector<int32_t>& texts) {
  std::vector<float> out;
  out.reserve(texts.size() * width);
  for (const int32_t t : texts) {
    const auto begin = values.begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(t) * width);
    out.insert(out.end(), begin, begin + static_cast<std::ptrdiff_t>(width));
  }
  return out;
}

// Calls use(query, scores over all documents) with products on the default device.
template <class Use>
void score_all(std::vector<float> queries, std::vector<float> documents, size_t width, Use use) {
  const auto num_queries = static_cast<int64_t>(queries.size() / width),
             num_documents = static_cast<int64_t>(documents.size() / width),
             cols = static_cast<int64_t>(width);
  engine::ParameterStore none;
  engine::Arena arena;
  for (int64_t begin = 0; begin < num_queries; begin += kQueriesAtOnce) {
    const int64_t n = std::min(kQueriesAtOnce, num_queries - begin);
    arena.reset();
    engine::Tape tape(arena, none, {});
    const auto constant = [&](float* values, int64_t rows) {
      return tape.constant(
          engine::make_tensor(const_cast<float*>(tape.on_device(values, rows * cols)), rows, cols));
    };
    const engine::Tensor scores =
        tape.on_host(engine::matmul_transposed(tape, constant(queries.data() + begin * cols, n),
                                               constant(documents.data(), num_documents))
                         ->data);
    for (int64_t q = 0; q < n; ++q) use(static_cast<size_t>(begin + q), scores.row(q));
  }
}

}  // namespace

int32_t EmbeddingMetrics::index_of(const std::vector<int32_t>& ids, const float* embedding) {
  const std::string key(reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t));
  const auto [at, fresh] = known_.emplace(key, static_cast<int32_t>(ids_.size()));
  if (!fresh) return at->second;
  ids_.push_back(ids);
  double length = 0;
  for (size_t c = 0; c < width_; ++c) length += double{embedding[c]} * embedding[c];
  length = std::max(std::sqrt(length), 1e-12);
  for (size_t c = 0; c < width_; ++c) embeddings_.push_back(static_cast<float>(embedding[c] / length));
  return at->second;
}

void EmbeddingMetrics::add(const data::RaggedBatch& batch, engine::Tensor embeddings) {
  width_ = static_cast<size_t>(embeddings.cols);
  scored_ |= !batch.float_labels.empty();
  for (size_t e = 0; e < batch.examples.size(); ++e) {
    Example example;
    if (scored_) example.score = batch.float_labels[e];
    for (int32_t b = batch.cu_examples[e]; b < batch.cu_examples[e + 1]; ++b) {
      const auto begin = batch.input_ids.begin() + batch.cu_seqlens[static_cast<size_t>(b)],
                 end = batch.input_ids.begin() + batch.cu_seqlens[static_cast<size_t>(b) + 1];
      example.texts.push_back(index_of({begin, end}, embeddings.row(b)));
    }
    examples_.push_back(std::move(example));
  }
}

// Width, whether scored, the number of texts, of each its ids and its embedding, then the examples.
Partial EmbeddingMetrics::partial() const {
  Partial out = {static_cast<double>(width_), scored_ ? 1.0 : 0.0, static_cast<double>(ids_.size())};
  for (size_t t = 0; t < ids_.size(); ++t) {
    out.push_back(static_cast<double>(ids_[t].size()));
    out.insert(out.end(), ids_[t].begin(), ids_[t].end());
    const auto begin = embeddings_.begin() + static_cast<std::ptrdiff_t>(t * width_);
    out.insert(out.end(), begin, begin + static_cast<std::ptrdiff_t>(width_));
  }
  for (const Example& e : examples_) {
    out.push_back(e.score);
    out.push_back(static_cast<double>(e.texts.size()));
    out.insert(out.end(), e.texts.begin(), e.texts.end());
  }
  return out;
}

void EmbeddingMetrics::merge(const Partial& part) {
  size_t at = 0;
  const auto next = [&] { return part.at(at++); };
  const auto width = static_cast<size_t>(next());
  const bool scored = next() != 0;
  const auto texts = static_cast<size_t>(next());
  if (width > 0) width_ = width;
  scored_ |= scored;
  std::vector<int32_t> mine;
  for (size_t t = 0; t < texts; ++t) {
    std::vector<int32_t> ids(static_cast<size_t>(next()));
    for (int32_t& id : ids) id = static_cast<int32_t>(next());
    std::vector<float> embedding(width);
    for (float& x : embedding) x = static_cast<float>(next());
    mine.push_back(index_of(ids, embedding.data()));
  }
  while (at < part.size()) {
    Example example;
    example.score = next();
    example.texts.resize(static_cast<size_t>(next()));
    for (int32_t& text : example.texts) text = mine.at(static_cast<size_t>(next()));
    examples_.push_back(std::move(example));
  }
}

double EmbeddingMetrics::cosine(int32_t a, int32_t b) const {
  const float *x = embeddings_.data() + static_cast<size_t>(a) * width_,
              *y = embeddings_.data() + static_cast<size_t>(b) * width_;
  double sum = 0;
  for (size_t c = 0; c < width_; ++c) sum += double{x[c]} * y[c];
  return sum;
}

MetricValues EmbeddingMetrics::correlations() const {
  Correlation correlation;
  for (const Example& e : examples_)
    correlation.add(static_cast<float>(e.score), static_cast<float>(cosine(e.texts.at(0), e.texts.at(1))));
  MetricValues out;
  for (const auto& [name, value] : correlation.values()) {
    if (name == "pearson") out.emplace_back("pearson", value);
    if (name == "spearmanr") out.emplace_back("spearman", value);
  }
  return out;
}

MetricValues EmbeddingMetrics::retrieval() const {
  std::map<int32_t, std::set<int32_t>> relevant;  // anchors -> places of their positives in `documents`
  std::map<int32_t, int32_t> place;
  std::vector<int32_t> queries, documents;
  double right = 0, triplets = 0;
  for (const Example& e : examples_) {
    for (size_t t = 1; t < e.texts.size(); ++t)
      if (place.emplace(e.texts[t], static_cast<int32_t>(documents.size())).second)
        documents.push_back(e.texts[t]);
    std::set<int32_t>& of_anchor = relevant[e.texts.front()];
    if (of_anchor.empty()) queries.push_back(e.texts.front());
    of_anchor.insert(place.at(e.texts.at(1)));
    for (size_t t = 2; t < e.texts.size(); ++t, ++triplets)
      right += cosine(e.texts[0], e.texts[1]) > cosine(e.texts[0], e.texts[t]);
  }
  RetrievalSums sums;
  score_all(rows_of(embeddings_, width_, queries), rows_of(embeddings_, width_, documents), width_,
            [&](size_t q, const float* scores) {
              sums.add(best_of(scores, documents.size()), relevant.at(queries[q]));
            });
  const auto n = static_cast<double>(queries.size());
  MetricValues out;
  for (size_t k = 0; k < 4; ++k)
    out.emplace_back(fmt::format("accuracy@{}", kFirst[k]), sums.accuracy[k] / n);
  for (size_t k = 0; k < 4; ++k) out.emplace_back(fmt::format("recall@{}", kFirst[k]), sums.recall[k] / n);
  out.emplace_back("mrr@10", sums.reciprocal / n);
  if (triplets > 0) out.emplace_back("triplet_accuracy", right / triplets);
  return out;
}

std::vector<std::string> EmbeddingMetrics::names(const data::RaggedBatch& example) const {
  if (!example.float_labels.empty()) return {"pearson", "spearman"};
  std::vector<std::string> names;
  for (const char* metric : {"accuracy", "recall"})
    for (const size_t k : kFirst) names.push_back(fmt::format("{}@{}", metric, k));
  names.insert(names.end(), {"mrr@10", "triplet_accuracy"});
  return names;
}

MetricValues EmbeddingMetrics::values() const {
  if (examples_.empty()) return {};
  return scored_ ? correlations() : retrieval();
}

}  // namespace graft::tasks
