#include "engine/arena.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace graft::engine {
namespace {

constexpr size_t kAlign = 64;
size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

// The machine's memory: no step can use more, and addresses alone cost nothing.
size_t physical_memory() {
  return static_cast<size_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

std::byte* reserve(size_t& bytes) {
  for (;; bytes /= 2) {
    void* p =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p != MAP_FAILED) {
      ::madvise(p, bytes, MADV_HUGEPAGE);
      return static_cast<std::byte*>(p);
    }
    if (bytes < (size_t{1} << 26))
      fail("cannot reserve {} MB of addresses for the step's memory", bytes >> 20);
  }
}

void touch(std::byte* base, size_t from, size_t to) {
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  for (size_t i = from; i < to; i += page) base[i] = std::byte{0};
}

}  // namespace

Arena::Arena() : reserved_(physical_memory()) {
  stack_ = reserve(reserved_);
  size_t heap_size = reserved_;
  heap_ = reserve(heap_size);
  if (heap_size < reserved_) {
    ::munmap(stack_ + heap_size, reserved_ - heap_size);
    reserved_ = heap_size;
  }
  reset();
}

Arena::~Arena() {
  ::munmap(stack_, reserved_);
  ::munmap(heap_, reserved_);
}

void Arena::reset() {
  top_ = 0;
  blocks_.assign(1, Block{0, reserved_, false});
}

void* Arena::push(size_t bytes) {
  const size_t size = round_up(std::max<size_t>(bytes, 1), kAlign);
  if (size > reserved_ - top_) {
    fail_with(
        "use a smaller per_device_train_batch_size (with gradient_accumulation_steps the result is the same) "
        "or a smaller max_seq_length",
        "a step needs more memory than this machine has ({} GB)", reserved_ >> 30);
  }
  void* p = stack_ + top_;
  top_ += size;
  top_peak_ = std::max(top_peak_, top_);
  return p;
}

void* Arena::take(size_t bytes) {
  const size_t size = round_up(std::max<size_t>(bytes, 1), kAlign);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    Block& b = blocks_[i];
    if (b.used || b.size < size) continue;
    const size_t begin = b.begin;
    if (b.size > size) {
      const Block rest{begin + size, b.size - size, false};
      b.size = size;
      b.used = true;
      blocks_.insert(blocks_.begin() + static_cast<std::ptrdiff_t>(i) + 1, rest);
    } else {
      b.used = true;
    }
    heap_peak_ = std::max(heap_peak_, begin + size);
    return heap_ + begin;
  }
  fail("a step needs more memory than this machine has ({} GB)", reserved_ >> 30);
}

void Arena::give(void* p) {
  const size_t begin = static_cast<size_t>(static_cast<std::byte*>(p) - heap_);
  const auto it =
      std::find_if(blocks_.begin(), blocks_.end(), [&](const Block& b) { return b.begin == begin; });
  if (it == blocks_.end() || !it->used) fail("arena: a block was given back that was not taken");
  it->used = false;
  const auto next = it + 1;
  if (next != blocks_.end() && !next->used) {
    it->size += next->size;
    blocks_.erase(next);
  }
  if (it != blocks_.begin() && !(it - 1)->used) {
    (it - 1)->size += it->size;
    blocks_.erase(it);
  }
}

void Arena::populate() {
  touch(stack_, populated_stack_, top_peak_);
  touch(heap_, populated_heap_, heap_peak_);
  populated_stack_ = std::max(populated_stack_, top_peak_);
  populated_heap_ = std::max(populated_heap_, heap_peak_);
}

}  // namespace graft::engine
