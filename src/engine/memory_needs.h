// The memory that forward and backward passes take beside the model's weights, and the limits of the process.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/memory.h"
#include "engine/tape.h"

namespace graft::engine {

// Bytes beside the model's weights, which are loaded.
struct MemoryNeeds {
  uint64_t gradients = 0, moments = 0;  // of training; addresses for them are reserved already
  const char* moments_name = "AdamW's moments";
  uint64_t cache = 0;   // keys and values of a decoder
  uint64_t copies = 0;  // of what is saved while training goes on
  uint64_t packed_weights = 0;
  uint64_t temporary = 0;       // of kernels and threads
  uint64_t libraries = 0;       // generated code, stacks of threads
  uint64_t margin = 0;          // for the kernels of other CPUs: in the budget, not in a prediction
  uint64_t addresses_only = 0;  // stacks, room for generated code
  ArenaSize arena;              // activations and their gradients

  uint64_t total() const {
    return gradients + moments + cache + copies + packed_weights + temporary + libraries + margin +
           arena.total();
  }
  uint64_t expected() const { return total() - margin; }
  uint64_t new_addresses() const {
    return cache + copies + packed_weights + temporary + libraries + margin + addresses_only + arena.total();
  }
  // What counts for a limit.
  uint64_t under(const MemoryLimit& limit) const { return limit.addresses ? new_addresses() : total(); }
  // "gradients 12.0 MB, AdamW's moments 24.0 MB, ..."
  std::string text() const;
  // The larger of each.
  void include(const MemoryNeeds& other);
};

// The tightest limit that `needs` exceeds; null = none.
const MemoryLimit* exceeded_limit(const std::vector<MemoryLimit>& limits, const MemoryNeeds& needs);

// The needs of what `pass` computes on a tape with these options, by a dry run.
MemoryNeeds plan_needs(const ParameterStore& parameters, const TapeOptions& options,
                       const std::function<void(Tape&)>& pass);

}  // namespace graft::engine
