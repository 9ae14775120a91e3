// The memory of a step on a device: a stack for activations and a heap for gradients and scratch
// (docs/design.md, idea 7). On the host both regions are reserved addresses whose pages are populated by use.
// The loop frees nothing.
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "engine/device.h"

namespace graft::engine {

// Bytes of the two regions.
struct ArenaSize {
  size_t stack = 0, heap = 0;
  size_t total() const { return stack + heap; }
};

class Arena {
 public:
  // Reserves addresses for steps of any size: the machine's memory, or a quarter of the limit left by ulimit.
  Arena();
  // Reserves addresses for `size`; reserve() adds more. With size 0 the first use reserves those of Arena(),
  // or 64 MB on a device that is not the host.
  explicit Arena(ArenaSize size, const Device& device = default_device());
  // For a plan: counts memory. push() returns memory; push_result() and take() return addresses that must not
  // be accessed, so that planning a very large step needs no memory.
  struct Counting {};
  explicit Arena(Counting, const Device& device = default_device());
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Stack region: 64-byte aligned, not initialised. `mark` and `release` keep it a stack. push() returns
  // memory of the host, which lies in the region where that is the host's too; only kernels access that of
  // push_result().
  void* push(size_t bytes);
  void* push_result(size_t bytes);
  size_t mark() const { return top_; }
  void release(size_t mark) { top_ = mark; }

  // Heap region: first fit, neighbours joined on free.
  void* take(size_t bytes);
  void give(void* p);

  // Frees all allocations of the last step and keeps the memory.
  void reset();
  // Grows both regions to at least this size; frees the step's allocations and, on the host, keeps the pages.
  // Throws Error if no addresses are left.
  void reserve(ArenaSize size);
  ArenaSize reserved() const { return reserved_; }

  // Highest use since construction or clear_peak, in bytes.
  ArenaSize peaks() const { return {top_peak_, heap_peak_}; }
  size_t peak() const { return peaks().total(); }
  void clear_peak() { top_peak_ = top_, heap_peak_ = 0; }
  // Populates the pages of `size`, so that the loop has no page faults.
  void populate(ArenaSize size);
  // Bytes populated so far.
  size_t populated() const { return populated_.total(); }

 private:
  struct Block {
    size_t begin, size;
    bool used;
  };
  size_t advance(size_t bytes);
  std::byte* grow(std::byte* former, size_t from, size_t to) const;
  void expect_reserved();

  const Device& device_;
  bool counting_ = false;
  std::byte* stack_ = nullptr;
  std::byte* heap_ = nullptr;
  ArenaSize reserved_, populated_;
  size_t top_ = 0, top_peak_ = 0, heap_peak_ = 0;
  std::vector<Block> blocks_;  // of the heap, by address; the last one is free and open-ended
  std::deque<std::unique_ptr<std::byte[]>> kept_;  // memory from push() outside of the region
};

}  // namespace graft::engine
