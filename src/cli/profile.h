// The output of --profile: time, rates and share of each operation.
#pragma once
#include <cstdio>
#include <vector>

#include "base/json.h"
#include "base/stopwatch.h"
#include "engine/profile.h"

namespace graft::cli {

// Records from construction to stop(). Construct it before the model runs.
class Profile {
 public:
  explicit Profile(bool on);
  bool on() const { return on_; }
  void stop();
  // One line per operation, longest first, and one for the time outside operations: data, tokenizer, log.
  void print(std::FILE* out) const;
  Json json() const;

 private:
  bool on_;
  Stopwatch stopwatch_;
  double seconds_ = 0;
  std::vector<engine::OperationProfile> operations_;
};

}  // namespace graft::cli
