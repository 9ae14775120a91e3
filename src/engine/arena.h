// The memory of a step: activations stacked in one region, gradients and scratch in another (docs/design.md,
// idea 7). Both are addresses first and become real memory as they are used; nothing is freed in the loop.
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

namespace graft::engine {

// Bytes of the two regions.
struct ArenaSize {
  size_t stack = 0, heap = 0;
  size_t total() const { return stack + heap; }
};

class Arena {
 public:
  // Addresses for steps of any size: as many as the machine has memory, or a quarter of what ulimit leaves.
  Arena();
  // Addresses for `size`; reserve() gets more. None at all: those of Arena() at the first use.
  explicit Arena(ArenaSize size);
  // For a plan: counts what would be used. push() gives memory, push_result() and take() addresses that
  // nothing may touch, so that a plan of a step that is far too large costs nothing.
  struct Counting {};
  explicit Arena(Counting);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Stack region: 64-byte aligned, not initialised. `mark` and `release` keep it a stack.
  void* push(size_t bytes);
  // The same for what only kernels write: a plan does not touch it.
  void* push_result(size_t bytes);
  size_t mark() const { return top_; }
  void release(size_t mark) { top_ = mark; }

  // Heap region: first fit, neighbours joined on free.
  void* take(size_t bytes);
  void give(void* p);

  // Forgets everything of the last step; memory stays.
  void reset();
  // Makes both regions at least this large; forgets the step, keeps the pages. Error where addresses are
  // short.
  void reserve(ArenaSize size);
  ArenaSize reserved() const { return reserved_; }

  // Highest use since construction or clear_peak, in bytes.
  ArenaSize peaks() const { return {top_peak_, heap_peak_}; }
  size_t peak() const { return peaks().total(); }
  void clear_peak() { top_peak_ = top_, heap_peak_ = 0; }
  // Makes real what `size` says is needed, so that the loop has no page fault.
  void populate(ArenaSize size);
  // Bytes that became real so far.
  size_t populated() const { return populated_.total(); }

 private:
  struct Block {
    size_t begin, size;
    bool used;
  };
  size_t advance(size_t bytes);

  bool counting_ = false;
  std::byte* stack_ = nullptr;
  std::byte* heap_ = nullptr;
  ArenaSize reserved_, populated_;
  size_t top_ = 0, top_peak_ = 0, heap_peak_ = 0;
  std::vector<Block> blocks_;  // of the heap, by address; the last one is free and open-ended
  std::deque<std::unique_ptr<std::byte[]>> kept_;  // what push() gave while counting
};

}  // namespace graft::engine
