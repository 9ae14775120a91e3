// What --profile shows: the operations of a run with their time, rates and share.
#pragma once
#include <chrono>
#include <cstdio>
#include <vector>

#include "base/json.h"
#include "engine/profile.h"

namespace graft::cli {

// Records from construction to stop(), where it is on; make it before the model runs.
class Profile {
 public:
  explicit Profile(bool on);
  bool on() const { return on_; }
  void stop();
  // A line an operation, longest first, and one for the time outside of them: data, tokenizer, log.
  void print(std::FILE* out) const;
  Json json() const;

 private:
  bool on_;
  std::chrono::steady_clock::time_point start_;
  double seconds_ = 0;
  std::vector<engine::OperationProfile> operations_;
};

}  // namespace graft::cli
