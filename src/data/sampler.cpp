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

Sampler::Sampler(int64_t num_examples, const SamplerOptions& options, std::vector<int32_t> lengths)
    : num_examples_(num_examples), options_(options), lengths_(std::move(lengths)) {
  if (num_examples_ < 0) fail("a sampler over {} examples", num_examples_);
  if (options_.batch_size < 1) fail("the batch size is {}, it must be at least 1", options_.batch_size);
  if (options_.sampling == Sampling::group_by_length &&
      static_cast<int64_t>(lengths_.size()) != num_examples_) {
    fail("group_by_length needs the length of each of {} examples, got {}", num_examples_, lengths_.size());
  }
}

int64_t Sampler::num_batches() const {
  const int64_t b = options_.batch_size;
  return num_examples_ / b + (!options_.drop_last && num_examples_ % b != 0);
}

std::vector<int64_t> Sampler::epoch_order(int64_t epoch) const {
  std::vector<int64_t> order(static_cast<size_t>(num_examples_));
  std::iota(order.begin(), order.end(), 0);
  if (options_.sampling == Sampling::sequential) return order;
  PhiloxStream random(philox_key(options_.seed, static_cast<uint64_t>(epoch), "sampler"));
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);  // Fisher-Yates
  if (options_.sampling == Sampling::group_by_length) group_by_length(order);
  return order;
}

void Sampler::group_by_length(std::vector<int64_t>& order) const {
  if (order.empty()) return;
  const auto length = [&](int64_t example) { return lengths_[static_cast<size_t>(example)]; };
  // transformers: at least four mega-batches, at most 50 batches each.
  const int64_t batches = std::clamp<int64_t>(num_examples_ / options_.batch_size / 4, 1, 50);
  // A batch may be larger than the data, up to 2^63 - 1: the product is taken of what there is.
  const auto mega = static_cast<size_t>(batches * std::min(options_.batch_size, num_examples_));
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
    cached_epoch_ = epoch;
  }
  const int64_t begin = index * options_.batch_size;  // below num_examples_, as index is below num_batches()
  const int64_t size = std::min(options_.batch_size, num_examples_ - begin);
  return {cached_order_.begin() + begin, cached_order_.begin() + begin + size};
}

}  // namespace graft::data
