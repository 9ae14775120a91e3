#include "engine/memory_needs.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/threads.h"
#include "engine/plan_needs.h"

namespace graft::engine {
namespace {

// What a first pass makes resident beside the planned memory. It is needed before that pass, so it cannot be
// read from the process. Measured by mapping (/proc/self/smaps) with AVX2 and AVX-512, 1 to 8 threads, fp32
// and bf16, one to 200 batch shapes: oneDNN's own code 1.7 to 5.0 MB, its generated kernels 0.4 to 4.8 MB,
// heap for its descriptors and the tape 0.4 to 5.5 MB. All together: 15.3 MB at most (training in bf16), 3 MB
// for predictions in fp32. The margin is for the kernels of other CPUs.
constexpr uint64_t kLibraries = uint64_t{12} << 20, kMargin = uint64_t{12} << 20;
// Stack and allocator of one more thread: what becomes real, and the addresses.
constexpr uint64_t kThread = uint64_t{2} << 20, kThreadAddresses = uint64_t{12} << 20;
// Addresses that oneDNN maps for the code of its kernels, most of which it never writes. Where they are
// refused, it calls a kernel that is not there.
constexpr uint64_t kCodeAddresses = uint64_t{48} << 20;

}  // namespace

std::string MemoryNeeds::text() const {
  std::string out;
  const auto add = [&](const char* name, uint64_t bytes) {
    if (bytes > 0) out += fmt::format("{}{} {}", out.empty() ? "" : ", ", name, format_bytes(bytes));
  };
  add("gradients", gradients);
  add(moments_name, moments);
  add("keys and values", cache);
  add("a copy of the checkpoint", copies);
  add("activations", arena.total());
  add("packed weights", packed_weights);
  add("temporary memory", temporary + libraries + margin);
  return out;
}

void MemoryNeeds::include(const MemoryNeeds& other) {
  const auto take = [](auto& mine, auto theirs) { mine = std::max(mine, theirs); };
  take(gradients, other.gradients);
  if (other.moments > moments) moments_name = other.moments_name;
  take(moments, other.moments);
  take(cache, other.cache);
  take(copies, other.copies);
  take(packed_weights, other.packed_weights);
  take(temporary, other.temporary);
  take(libraries, other.libraries);
  take(margin, other.margin);
  take(addresses_only, other.addresses_only);
  take(arena.stack, other.arena.stack);
  take(arena.heap, other.arena.heap);
}

const MemoryLimit* exceeded_limit(const std::vector<MemoryLimit>& limits, const MemoryNeeds& needs) {
  const MemoryLimit* worst = nullptr;
  for (const MemoryLimit& limit : limits)
    if (needs.under(limit) > limit.left() && (!worst || limit.left() < worst->left())) worst = &limit;
  return worst;
}

MemoryNeeds plan_needs(const ParameterStore& parameters, const TapeOptions& options,
                       const std::function<void(Tape&)>& pass) {
  PlanNeeds kernels;
  const Device& device = parameters.device();
  Arena arena{Arena::Counting(), device};
  Tape tape(device.plan_kernels(), arena, const_cast<ParameterStore&>(parameters), options);
  pass(tape);
  MemoryNeeds needs;
  needs.arena = arena.peaks();
  needs.packed_weights = static_cast<uint64_t>(kernels.packed_weights);
  needs.temporary = static_cast<uint64_t>(kernels.temporary(num_threads()));
  needs.libraries = kLibraries + static_cast<uint64_t>(num_threads()) * kThread;
  needs.margin = kMargin;
  needs.addresses_only = static_cast<uint64_t>(num_threads()) * (kThreadAddresses - kThread) + kCodeAddresses;
  return needs;
}

}  // namespace graft::engine
