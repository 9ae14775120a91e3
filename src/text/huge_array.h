// An array for tables that are read at random: large ones lie on huge pages where the system has them, which
// saves most of the misses in the translation of addresses.
#pragma once
#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

namespace graft::text {

template <class T>
struct HugeAllocator {
  using value_type = T;
  HugeAllocator() = default;
  template <class U>
  HugeAllocator(const HugeAllocator<U>&) {}

  T* allocate(size_t n) {
    constexpr size_t kHugePage = 2 << 20;
    const size_t bytes = n * sizeof(T);
    if (bytes < kHugePage / 2) return static_cast<T*>(::operator new(bytes, std::align_val_t(64)));
    const size_t rounded = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    void* p = std::aligned_alloc(kHugePage, rounded);
    if (!p) throw std::bad_alloc();
    madvise(p, rounded, MADV_HUGEPAGE);  // advice: without it everything works, slower
    return static_cast<T*>(p);
  }
  void deallocate(T* p, size_t n) {
    if (n * sizeof(T) < (2 << 20) / 2)
      ::operator delete(p, std::align_val_t(64));
    else
      std::free(p);
  }
  template <class U>
  bool operator==(const HugeAllocator<U>&) const {
    return true;
  }
  template <class U>
  bool operator!=(const HugeAllocator<U>&) const {
    return false;
  }
};

template <class T>
using HugeArray = std::vector<T, HugeAllocator<T>>;

}  // namespace graft::text
