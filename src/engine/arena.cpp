#include "engine/arena.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/memory.h"

namespace graft::engine {
namespace {

constexpr size_t kAlign = 64;
constexpr size_t kPage = size_t{2} << 20;  // a huge page
size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

// Addresses of a counting arena: none is mapped, and no offset below 2^46 leaves the half of user space.
std::byte* const kNowhere = reinterpret_cast<std::byte*>(uintptr_t{1} << 46);  // NOLINT: never dereferenced

constexpr const char* kWhat = "the activations and gradients of a step";

// A region of `to` bytes that keeps the pages of the former one of `from`.
std::byte* map(std::byte* former, size_t from, size_t to) {
  if (to == from) return former;
  void* p = former ? ::mremap(former, from, to, MREMAP_MAYMOVE)
                   : ::mmap(nullptr, to, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                            -1, 0);
  if (p == MAP_FAILED) fail_allocation(to - from, kWhat);
  ::madvise(p, to, MADV_HUGEPAGE);
  return static_cast<std::byte*>(p);
}

void touch(std::byte* base, size_t from, size_t to) {
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  for (size_t i = from; i < to; i += page) base[i] = std::byte{0};
}

// Without a limit on addresses they cost nothing, and no step can use more than the machine has.
size_t any_size() {
  const uint64_t left = addresses_left();
  return static_cast<size_t>(left == std::numeric_limits<uint64_t>::max() ? physical_memory() : left / 8);
}

[[noreturn]] void fail_full(size_t bytes, size_t size) {
  fail_with(
      "use a smaller per_device_train_batch_size (with gradient_accumulation_steps the result is the same) "
      "or a smaller max_seq_length",
      "a step needs more memory than was planned for it: {} more than the {} of a region",
      format_bytes(bytes), format_bytes(size));
}

}  // namespace

Arena::Arena() : Arena(ArenaSize{any_size(), any_size()}) {}

Arena::Arena(ArenaSize size, const Device& device) : device_(device) { reserve(size); }

Arena::Arena(Counting, const Device& device)
    : device_(device), counting_(true), stack_(kNowhere), heap_(kNowhere) {
  reserved_.stack = reserved_.heap = size_t{1} << 45;
  heap_ += reserved_.stack;
  reset();
}

Arena::~Arena() {
  if (counting_) return;
  const auto release = [&](std::byte* region, size_t size) {
    if (!region) return;
    if (device_.is_host)
      ::munmap(region, size);
    else
      device_.free(region, size);
  };
  release(stack_, reserved_.stack);
  release(heap_, reserved_.heap);
}

// Other devices have no addresses without memory: the former region is freed first.
std::byte* Arena::grow(std::byte* former, size_t from, size_t to) const {
  if (device_.is_host) return map(former, from, to);
  if (to == from) return former;
  if (former) device_.free(former, from);
  return static_cast<std::byte*>(device_.alloc(to, kWhat));
}

void Arena::expect_reserved() {
  constexpr size_t kUnplanned = size_t{64} << 20;  // on a device without addresses to spare
  if (reserved_.total() > 0) return;
  const size_t size = device_.is_host ? any_size() : kUnplanned;
  reserve({size, size});
}

void Arena::reserve(ArenaSize size) {
  const size_t stack = std::max(reserved_.stack, round_up(size.stack, kPage)),
               heap = std::max(reserved_.heap, round_up(size.heap, kPage));
  if (!counting_) {
    stack_ = grow(stack_, reserved_.stack, stack);
    reserved_.stack = stack;
    heap_ = grow(heap_, reserved_.heap, heap);
    reserved_.heap = heap;
  }
  reset();
}

void Arena::reset() {
  top_ = 0;
  kept_.clear();
  blocks_.assign(1, Block{0, reserved_.heap, false});
}

// Moves the top of the stack; returns where it was.
size_t Arena::advance(size_t bytes) {
  expect_reserved();
  const size_t size = round_up(std::max<size_t>(bytes, 1), kAlign);
  if (size > reserved_.stack - top_) fail_full(size, reserved_.stack);
  const size_t begin = top_;
  top_ += size;
  top_peak_ = std::max(top_peak_, top_);
  return begin;
}

void* Arena::push(size_t bytes) {
  expect_reserved();  // which would free what is pushed before
  if (device_.is_host) {
    const size_t begin = advance(bytes);
    if (!counting_) return stack_ + begin;
  }
  kept_.emplace_back(new std::byte[bytes + kAlign]);
  return reinterpret_cast<std::byte*>(round_up(reinterpret_cast<uintptr_t>(kept_.back().get()), kAlign));
}

void* Arena::push_result(size_t bytes) {
  const size_t begin = advance(bytes);  // sets stack_ at the first use
  return stack_ + begin;
}

void* Arena::take(size_t bytes) {
  expect_reserved();
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
  fail_full(size, reserved_.heap);
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

void Arena::populate(ArenaSize size) {
  if (!device_.is_host) return;
  touch(stack_, populated_.stack, size.stack);
  touch(heap_, populated_.heap, size.heap);
  populated_.stack = std::max(populated_.stack, size.stack);
  populated_.heap = std::max(populated_.heap, size.heap);
}

}  // namespace graft::engine
