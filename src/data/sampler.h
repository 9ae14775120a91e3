// The order of a training epoch, as a function of (seed, epoch, n) alone.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace graft::data {

// train_sampling_strategy. group_by_length: examples of similar length share a batch (transformers'
// LengthGroupedSampler): shuffled, cut into mega-batches of 50 batches, each sorted by length, longest first.
// The longest example of all comes first, so that a lack of memory shows in the first step.
enum class Sampling { random, sequential, group_by_length };

// "random", "sequential", "group_by_length"; else Error with the nearest.
Sampling parse_sampling(std::string_view name);

struct SamplerOptions {
  Sampling sampling = Sampling::random;
  uint64_t seed = 42;
  int64_t batch_size = 8;  // of the optimizer step's micro-batch over all processes
  bool drop_last = false;  // dataloader_drop_last
};

class Sampler {
 public:
  // `lengths` (tokens of each example) are needed for group_by_length only.
  Sampler(int64_t num_examples, const SamplerOptions& options, std::vector<int32_t> lengths = {});

  int64_t num_examples() const { return num_examples_; }
  int64_t num_batches() const;  // of an epoch
  // A permutation of 0..n-1.
  std::vector<int64_t> epoch_order(int64_t epoch) const;
  // The examples of batch `index` of `epoch`, computed directly. Caches the order of one epoch; not
  // thread-safe.
  std::vector<int64_t> batch(int64_t epoch, int64_t index);

 private:
  void group_by_length(std::vector<int64_t>& order) const;

  int64_t num_examples_;
  SamplerOptions options_;
  std::vector<int32_t> lengths_;
  int64_t cached_epoch_ = -1;
  std::vector<int64_t> cached_order_;
};

}  // namespace graft::data
