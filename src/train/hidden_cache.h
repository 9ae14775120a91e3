// Linear probing: the hidden states that a frozen encoder gives each example are computed once, and every
// epoch trains the head on them.
#pragma once
#include <map>
#include <memory>

#include "models/network.h"
#include "train/parts.h"

namespace graft::train {

// The rows that the head reads of each example of a data set, without dropout: in memory, or in a file of the
// output folder where they are more than a quarter of the machine's memory.
class HiddenCache : public models::HiddenSource {
 public:
  HiddenCache(Trainer::Parts& parts, const tasks::Features& features);
  ~HiddenCache() override;
  HiddenCache(const HiddenCache&) = delete;
  HiddenCache& operator=(const HiddenCache&) = delete;

  engine::Var rows(engine::Tape& tape, const data::RaggedBatch& batch) const override;
  int64_t bytes() const { return 4 * num_rows_ * width_; }

 private:
  void reserve(const Trainer::Parts& parts, int64_t rows);
  void compute(Trainer::Parts& parts, const tasks::Features& features, int64_t begin, int64_t end);

  std::vector<int64_t> first_row_{0};  // [examples + 1]
  int64_t num_rows_ = 0, width_ = 0;
  float* data_ = nullptr;
  size_t mapped_ = 0;
};

// During its lifetime training reads caches of the training and evaluation sets, where the arguments ask for
// linear probing.
class ProbingCaches {
 public:
  explicit ProbingCaches(Trainer::Parts& parts);
  ~ProbingCaches();
  ProbingCaches(const ProbingCaches&) = delete;
  ProbingCaches& operator=(const ProbingCaches&) = delete;

 private:
  Trainer::Parts& parts_;
};

// During its lifetime a pass reads the cache of this data set; without one it runs the encoder.
class ReadsCacheOf {
 public:
  ReadsCacheOf(Trainer::Parts& parts, const tasks::Features& features);
  ~ReadsCacheOf() { network_.cached = former_; }
  ReadsCacheOf(const ReadsCacheOf&) = delete;
  ReadsCacheOf& operator=(const ReadsCacheOf&) = delete;

 private:
  models::Network& network_;
  const models::HiddenSource* former_;
};

}  // namespace graft::train
