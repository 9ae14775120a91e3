// The order of a training epoch, as a function of (seed, epoch, n) alone.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
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
  // max_tokens_per_batch: tokens of one process's micro-batch, 0 = batches of batch_size examples. The batch
  // of `processes` processes is cut by token_cuts.
  int64_t max_tokens = 0, processes = 1;
};

// Where consecutive examples are cut into batches of at most `max_tokens`, filled in order: the end of each.
// A longer example is a batch of its own.
std::vector<size_t> token_cuts(std::span<const int64_t> examples,
                               const std::function<int32_t(int64_t)>& length, int64_t max_tokens);

// Batches of at most max_tokens: the order of epoch 0 is cut into batches once. They fix how many batches an
// epoch has and the lengths in each. Every epoch shuffles the batches, and the examples among those of the
// same length. So each example occurs once an epoch, and the number of steps is known before the first one.
// Texts that are packed to one length are shuffled as without max_tokens.
class Sampler {
 public:
  // `lengths` (tokens of each example) are needed for group_by_length and max_tokens only. Throws Error for
  // an example with more than max_tokens tokens.
  Sampler(int64_t num_examples, const SamplerOptions& options, std::vector<int32_t> lengths = {});

  int64_t num_examples() const { return num_examples_; }
  int64_t num_batches() const;  // of an epoch
  // A permutation of 0..n-1.
  std::vector<int64_t> epoch_order(int64_t epoch) const;
  // The examples of batch `index` of `epoch`, computed directly. Caches the order of one epoch; not
  // thread-safe.
  std::vector<int64_t> batch(int64_t epoch, int64_t index);

 private:
  int64_t examples_in_a_batch() const;
  void shuffle(std::vector<int64_t>& order, int64_t epoch, const char* what) const;
  void group_by_length(std::vector<int64_t>& order) const;
  void form_token_batches();
  void exchange_equal_lengths(std::vector<int64_t>& order) const;
  std::vector<int64_t> batch_order(int64_t epoch) const;

  int64_t num_examples_;
  SamplerOptions options_;
  std::vector<int32_t> lengths_;
  int64_t cached_epoch_ = -1;
  std::vector<int64_t> cached_order_;
  // With max_tokens: the lengths in the order of epoch 0, where its batches end, and the order of the batches
  // in the cached epoch.
  std::vector<int32_t> slots_;
  std::vector<size_t> ends_;
  std::vector<int64_t> cached_batches_;
};

}  // namespace graft::data
