#include "generate/processors.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace graft::generate {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

void penalize_repetition(std::vector<float>& scores, const std::vector<int32_t>& tokens, double penalty) {
  std::vector<int32_t> seen = tokens;
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  const auto factor = static_cast<float>(penalty);
  for (const int32_t id : seen) {
    float& s = scores[static_cast<size_t>(id)];
    s = s < 0 ? s * factor : s / factor;
  }
}

// No token that would complete an n-gram of the text a second time.
void forbid_ngrams(std::vector<float>& scores, const std::vector<int32_t>& tokens, size_t n) {
  if (tokens.size() + 1 < n) return;
  const auto tail = tokens.end() - static_cast<std::ptrdiff_t>(n - 1);
  for (size_t i = 0; i + n <= tokens.size(); ++i) {
    const auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(i);
    if (std::equal(tail, tokens.end(), begin)) scores[static_cast<size_t>(tokens[i + n - 1])] = kNever;
  }
}

// Indices by score, ascending; equals by index.
std::vector<int32_t> ascending(const std::vector<float>& scores) {
  std::vector<int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return scores[static_cast<size_t>(a)] < scores[static_cast<size_t>(b)];
  });
  return order;
}

std::vector<double> softmax(const std::vector<float>& scores) {
  const double max = *std::max_element(scores.begin(), scores.end());
  std::vector<double> p(scores.size());
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) sum += p[i] = std::exp(scores[i] - max);
  for (double& x : p) x /= sum;
  return p;
}

void keep_top_k(std::vector<float>& scores, int64_t k) {
  const auto n = std::min<size_t>(static_cast<size_t>(k), scores.size());
  std::vector<float> sorted = scores;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(n) - 1, sorted.end(),
                   std::greater<>());
  const float least = sorted[n - 1];
  for (float& s : scores)
    if (s < least) s = kNever;
}

// The fewest tokens whose probabilities sum to top_p (Holtzman et al. 2020).
void keep_top_p(std::vector<float>& scores, double top_p) {
  const std::vector<double> p = softmax(scores);
  const std::vector<int32_t> order = ascending(scores);
  double sum = 0;
  for (size_t i = 0; i + 1 < order.size(); ++i) {
    sum += p[static_cast<size_t>(order[i])];
    if (sum <= 1 - top_p) scores[static_cast<size_t>(order[i])] = kNever;
  }
}

// The tokens whose surprise is nearest to the expected one, up to the mass typical_p (Meister et al. 2023).
void keep_typical(std::vector<float>& scores, double mass) {
  const std::vector<double> p = softmax(scores);
  double entropy = 0;
  for (const double x : p) entropy -= x > 0 ? x * std::log(x) : 0;
  std::vector<float> distance(p.size());
  for (size_t i = 0; i < p.size(); ++i)
    distance[i] = p[i] > 0 ? static_cast<float>(std::fabs(-std::log(p[i]) - entropy)) : -kNever;
  const std::vector<int32_t> order = ascending(distance);
  double sum = 0;
  size_t last = 0;
  for (; last + 1 < order.size(); ++last) {
    sum += p[static_cast<size_t>(order[last])];
    if (sum >= mass) break;
  }
  const float limit = distance[static_cast<size_t>(order[last])];
  for (size_t i = 1; i < order.size(); ++i)
    if (distance[static_cast<size_t>(order[i])] > limit) scores[static_cast<size_t>(order[i])] = kNever;
}

}  // namespace

void process_scores(std::vector<float>& scores, const std::vector<int32_t>& tokens, size_t prompt_length,
                    const GenerationOptions& o) {
  if (o.repetition_penalty != 1) penalize_repetition(scores, tokens, o.repetition_penalty);
  if (o.no_repeat_ngram_size > 0) forbid_ngrams(scores, tokens, static_cast<size_t>(o.no_repeat_ngram_size));
  // min_length counts the prompt; min_new_tokens replaces it (the reference's _prepare_generated_length).
  const bool too_short = o.min_new_tokens > 0
                             ? static_cast<int64_t>(tokens.size() - prompt_length) < o.min_new_tokens
                             : static_cast<int64_t>(tokens.size()) < o.min_length;
  if (too_short) {
    for (const int32_t id : o.eos_token_id)
      if (id >= 0 && static_cast<size_t>(id) < scores.size()) scores[static_cast<size_t>(id)] = kNever;
  }
}

void warp_scores(std::vector<float>& scores, const GenerationOptions& o) {
  if (o.temperature != 1)
    for (float& s : scores) s /= static_cast<float>(o.temperature);
  if (o.top_k > 0) keep_top_k(scores, o.top_k);
  if (o.top_p < 1) keep_top_p(scores, o.top_p);
  if (o.typical_p < 1) keep_typical(scores, o.typical_p);
}

void log_softmax(std::vector<float>& scores) {
  const float max = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (const float s : scores) sum += std::exp(s - max);
  const float log_sum = max + static_cast<float>(std::log(sum));
  for (float& s : scores) s -= log_sum;
}

int32_t draw(const std::vector<float>& scores, double uniform) {
  const std::vector<double> p = softmax(scores);
  double sum = 0;
  int32_t last = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    if (p[i] == 0) continue;
    sum += p[i];
    last = static_cast<int32_t>(i);
    if (uniform < sum) break;
  }
  return last;
}

int32_t largest(const std::vector<float>& scores) {
  return static_cast<int32_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
}

}  // namespace graft::generate
