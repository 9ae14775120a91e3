// The beams of one prompt, as the reference's _beam_search keeps them (transformers 5.24,
// generation/utils.py).
#pragma once
#include <functional>
#include <vector>

#include "generate/search.h"

namespace graft::generate {

class Beams {
 public:
  Beams(std::vector<int32_t> prompt, const GenerationOptions& options, int64_t max_new_tokens);

  bool done() const { return done_; }
  // Tokens of the running beam `i`.
  const std::vector<int32_t>& running(size_t i) const { return running_[i].tokens; }
  size_t size() const { return running_.size(); }
  // Extends the beams by one token each. scores[i]: processed log-probabilities behind beam i. Afterwards
  // parent(i) is the former beam that beam i continues.
  void extend(const std::vector<std::vector<float>>& scores,
              const std::function<bool(const std::vector<int32_t>&)>& stops);
  size_t parent(size_t i) const { return running_[i].parent; }
  // The best num_return_sequences, best first.
  std::vector<Generated> best() const;

 private:
  struct Beam {
    std::vector<int32_t> tokens;
    float score = 0;
    size_t parent = 0;
    bool ends = false;  // a candidate that cannot be continued; of the finished: it holds a text
  };
  std::vector<Beam> candidates(const std::vector<std::vector<float>>& scores) const;
  void finish(const std::vector<Beam>& candidates);
  void decide(bool all_end);

  const GenerationOptions& options_;
  size_t prompt_length_;
  int64_t max_new_tokens_;
  std::vector<Beam> running_, finished_;
  bool improvable_ = true, done_ = false;
};

}  // namespace graft::generate
