// An array that uses huge pages, if the system has them, once it is large. Random reads of a table cause
// fewer TLB misses. The buffers of a very long text cause one page fault per 2 MB instead of one per 4 kB.
#pragma once
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace graft::text {

template <class T>
struct HugeAllocator {
  using value_type = T;
  static constexpr size_t kHugePage = 2 << 20;
  HugeAllocator() = default;
  template <class U>
  HugeAllocator(const HugeAllocator<U>&) {}

  T* allocate(size_t n) {
    const size_t bytes = n * sizeof(T);
    if (bytes < kHugePage / 2) {
      if constexpr (alignof(T) > __STDCPP_DEFAULT_NEW_ALIGNMENT__)
        return static_cast<T*>(::operator new(bytes, std::align_val_t(alignof(T))));
      else
        return static_cast<T*>(::operator new(bytes));
    }
    // Always from the system: malloc keeps freed memory up to some size and returns larger blocks, so that
    // the time per text would jump at that size.
    const size_t size = rounded(bytes);
    void* map = mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) throw std::bad_alloc();
    char* begin = static_cast<char*>(map);
    const size_t skipped = (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
    if (skipped > 0) munmap(begin, skipped);
    if (skipped < kHugePage) munmap(begin + skipped + size, kHugePage - skipped);
    madvise(begin + skipped, size, MADV_HUGEPAGE);  // an advice only: the result of the call does not matter
    return reinterpret_cast<T*>(begin + skipped);
  }
  void deallocate(T* p, size_t n) {
    if (n * sizeof(T) >= kHugePage / 2)
      munmap(p, rounded(n * sizeof(T)));
    else if constexpr (alignof(T) > __STDCPP_DEFAULT_NEW_ALIGNMENT__)
      ::operator delete(p, std::align_val_t(alignof(T)));
    else
      ::operator delete(p);
  }
  static size_t rounded(size_t bytes) { return (bytes + kHugePage - 1) / kHugePage * kHugePage; }
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
