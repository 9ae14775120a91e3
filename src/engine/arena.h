// The memory of a step: activations stacked in one region, gradients and scratch in another (docs/design.md,
// idea 7). Both are reserved as addresses once and become real memory as they are used; nothing is freed in
// the loop.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace graft::engine {

class Arena {
 public:
  Arena();
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Stack region: 64-byte aligned, not initialised. `mark` and `release` keep it a stack.
  void* push(size_t bytes);
  size_t mark() const { return top_; }
  void release(size_t mark) { top_ = mark; }

  // Heap region: first fit, neighbours joined on free.
  void* take(size_t bytes);
  void give(void* p);

  // Forgets everything of the last step; memory stays.
  void reset();

  // Highest use since construction or clear_peak, in bytes, of both regions together.
  size_t peak() const { return top_peak_ + heap_peak_; }
  void clear_peak() { top_peak_ = top_, heap_peak_ = 0; }
  // Makes real what `peak` says is needed, so that the loop has no page fault.
  void populate();

 private:
  struct Block {
    size_t begin, size;
    bool used;
  };
  std::byte* stack_ = nullptr;
  std::byte* heap_ = nullptr;
  size_t reserved_ = 0;
  size_t top_ = 0, top_peak_ = 0, heap_peak_ = 0;
  size_t populated_stack_ = 0, populated_heap_ = 0;
  std::vector<Block> blocks_;  // of the heap, by address; the last one is free and open-ended
};

}  // namespace graft::engine
