#include "data/sampler.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/nearest.h"
#include "base/philox.h"

namespace graft::data {

Sampling parse_sampling(std::string_view name) {
  if (name == "random") return Sampling::random;
  if (name == "sequential") return Sampling::sequential;
  if (name == "group_by_length") return Sampling::group_by_length;
  const std::string near = nearest_name(name, {"random", "sequential", "group_by_length"});
  fail_with(near.empty() ? "it is one of random, sequential, group_by_length"
                         : fmt::format("did you mean '{}'?", near),
            "unknown train_sampling_strategy '{}'", name);
}

std::vector<size_t> token_cuts(std::span<const int64_t> examples,
                               const std::function<int32_t(int64_t)>& length, int64_t max_tokens) {
  std::vector<size_t> ends;
  int64_t tokens = 0;
  for (size_t i = 0; i < examples.size(); ++i) {
    const int32_t n = length(examples[i]);
    if (i > 0 && n > max_tokens - tokens) {
      ends.push_back(i);
      tokens = 0;
    }
    tokens += n;
  }
  if (!examples.empty()) ends.push_back(examples.size());
  return ends;
}

Sampler::Sampler(int64_t num_examples, const SamplerOptions& options, std::vector<int32_t> lengths)
    : num_examples_(num_examples), options_(options), lengths_(std::move(lengths)) {
  if (num_examples_ < 0) fail("a sampler over {} examples", num_examples_);
  if (options_.batch_size < 1) fail("the batch size is {}, it must be at least 1", options_.batch_size);
  const bool by_length = options_.sampling == Sampling::group_by_length, by_tokens = options_.max_tokens > 0;
  if ((by_length || by_tokens) && static_cast<int64_t>(lengths_.size()) != num_examples_) {
    fail("{} needs the length of each of {} examples, got {}",
         by_tokens ? "max_tokens_per_batch" : "group_by_length", num_examples_, lengths_.size());
  }
  if (by_tokens) form_token_batches();
}

void Sampler::form_token_batches() {
  const auto longest = std::max_element(lengths_.begin(), lengths_.end());
  if (longest != lengths_.end() && *longest > options_.max_tokens) {
    fail_with(fmt::format("use --max_tokens_per_batch {} or more, or a smaller --max_seq_length", *longest),
              "example {} of the training data has {} tokens, and --max_tokens_per_batch is {}",
              longest - lengths_.begin() + 1, *longest, options_.max_tokens);
  }
  std::vector<int64_t> order(static_cast<size_t>(num_examples_));
  std::iota(order.begin(), order.end(), 0);
  shuffle(order, 0, "sampler");
  if (options_.sampling == Sampling::group_by_length) group_by_length(order);
  slots_.reserve(order.size());
  for (const int64_t example : order) slots_.push_back(lengths_[static_cast<size_t>(example)]);
  const auto length = [&](int64_t example) { return lengths_[static_cast<size_t>(example)]; };
  const std::vector<size_t> cuts = token_cuts(order, length, options_.max_tokens);
  const auto processes = static_cast<size_t>(options_.processes);
  for (size_t i = processes; i < cuts.size(); i += processes) ends_.push_back(cuts[i - 1]);
  // What is left at the end fills a batch where no shorter one would have held it.
  const size_t begin = ends_.empty() ? 0 : ends_.back();
  const int64_t rest =
      std::accumulate(slots_.begin() + static_cast<std::ptrdiff_t>(begin), slots_.end(), int64_t{0});
  const bool full = rest == options_.max_tokens * options_.processes;
  if (!cuts.empty() && (full || !options_.drop_last)) ends_.push_back(cuts.back());
}

int64_t Sampler::num_batches() const {
  if (options_.max_tokens > 0) return static_cast<int64_t>(ends_.size());
  const int64_t b = options_.batch_size;
  return num_examples_ / b + (!options_.drop_last && num_examples_ % b != 0);
}

// Fisher-Yates, unless the order is sequential.
void Sampler::shuffle(std::vector<int64_t>& order, int64_t epoch, const char* what) const {
  if (options_.sampling == Sampling::sequential) return;
  PhiloxStream random(philox_key(options_.seed, static_cast<uint64_t>(epoch), what));
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
}

std::vector<int64_t> Sampler::epoch_order(int64_t epoch) const {
  std::vector<int64_t> order(static_cast<size_t>(num_examples_));
  std::iota(order.begin(), order.end(), 0);
  shuffle(order, epoch, "sampler");
  if (options_.max_tokens > 0) {
    exchange_equal_lengths(order);
  } else if (options_.sampling == Sampling::group_by_length) {
    group_by_length(order);
  }
  return order;
}

// Each slot takes the next example of its length: a stable sort of `order` by the slots' order of lengths.
void Sampler::exchange_equal_lengths(std::vector<int64_t>& order) const {
  const int32_t longest = slots_.empty() ? 0 : *std::max_element(slots_.begin(), slots_.end());
  std::vector<size_t> next(static_cast<size_t>(longest) + 2);  // of each length: where its examples begin
  for (const int32_t n : slots_) ++next[static_cast<size_t>(n) + 1];
  std::partial_sum(next.begin(), next.end(), next.begin());
  std::vector<size_t> place = next;
  std::vector<int64_t> by_length(order.size());
  for (const int64_t example : order)
    by_length[place[static_cast<size_t>(lengths_[static_cast<size_t>(example)])]++] = example;
  for (size_t i = 0; i < order.size(); ++i) order[i] = by_length[next[static_cast<size_t>(slots_[i])]++];
}

std::vector<int64_t> Sampler::batch_order(int64_t epoch) const {
  std::vector<int64_t> batches(ends_.size());
  std::iota(batches.begin(), batches.end(), 0);
  shuffle(batches, epoch, "batches");
  // The batch with the longest example first, as without max_tokens.
  if (options_.sampling == Sampling::group_by_length && !batches.empty())
    std::iter_swap(batches.begin(), std::find(batches.begin(), batches.end(), 0));
  return batches;
}

// With max_tokens the mean.
int64_t Sampler::examples_in_a_batch() const {
  if (options_.max_tokens == 0) return options_.batch_size;
  const int64_t tokens = std::accumulate(lengths_.begin(), lengths_.end(), int64_t{0});
  const double mean = static_cast<double>(std::max<int64_t>(tokens, 1)) / static_cast<double>(num_examples_);
  return std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(options_.max_tokens) / mean));
}

void Sampler::group_by_length(std::vector<int64_t>& order) const {
  if (order.empty()) return;
  const auto length = [&](int64_t example) { return lengths_[static_cast<size_t>(example)]; };
  const int64_t size = examples_in_a_batch();
  // transformers: at least four mega-batches, at most 50 batches each.
  const int64_t batches = std::clamp<int64_t>(num_examples_ / size / 4, 1, 50);
  // A batch may be larger than the data, up to 2^63 - 1: the product is taken of what there is.
  const auto mega = static_cast<size_t>(batches * std::min(size, num_examples_));
  size_t longest = 0;
  for (size_t begin = 0; begin < order.size(); begin += mega) {
    const auto first = order.begin() + static_cast<int64_t>(begin);
    const auto last = order.begin() + static_cast<int64_t>(std::min(begin + mega, order.size()));
    std::stable_sort(first, last, [&](int64_t a, int64_t b) { return length(a) > length(b); });
    if (length(order[begin]) > length(order[longest])) longest = begin;
  }
  std::swap(order[0], order[longest]);
}

std::vector<int64_t> Sampler::batch(int64_t epoch, int64_t index) {
  if (index < 0 || index >= num_batches()) fail("batch {} of an epoch with {} batches", index, num_batches());
  if (epoch != cached_epoch_) {
    cached_order_ = epoch_order(epoch);
    cached_batches_ = batch_order(epoch);
    cached_epoch_ = epoch;
  }
  if (options_.max_tokens > 0) {
    const auto i = static_cast<size_t>(cached_batches_[static_cast<size_t>(index)]);
    const auto at = [&](size_t end) { return cached_order_.begin() + static_cast<std::ptrdiff_t>(end); };
    return {at(i == 0 ? 0 : ends_[i - 1]), at(ends_[i])};
  }
  const int64_t begin = index * options_.batch_size;  // below num_examples_, as index is below num_batches()
  const int64_t size = std::min(options_.batch_size, num_examples_ - begin);
  return {cached_order_.begin() + begin, cached_order_.begin() + begin + size};
}

}  // namespace graft::data
