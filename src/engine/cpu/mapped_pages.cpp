#include "engine/cpu/mapped_pages.h"

#include <sys/mman.h>

#include <cstdint>

#include "base/memory.h"

namespace graft::engine::cpu {

std::byte* MappedPages::at_least(size_t bytes, const char* what) {
  if (bytes <= size_) return begin_;
  free();
  constexpr size_t kHuge = size_t{2} << 20, kPage = 4096;
  const size_t size = (bytes + kPage - 1) / kPage * kPage, spare = size < kHuge ? 0 : kHuge;
  void* map = ::mmap(nullptr, size + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) fail_allocation(bytes, what);
  begin_ = static_cast<std::byte*>(map);
  if (spare > 0) {
    // Only the part that begins at a huge page's address is kept. The end stays in small pages: a huge one
    // would take up to 2 MB more.
    const size_t before = (kHuge - reinterpret_cast<uintptr_t>(map) % kHuge) % kHuge;
    if (before > 0) ::munmap(begin_, before);
    begin_ += before;
    if (before < spare) ::munmap(begin_ + size, spare - before);
    ::madvise(begin_, size / kHuge * kHuge, MADV_HUGEPAGE);
  }
  size_ = size;
  return begin_;
}

void MappedPages::free() {
  if (begin_) ::munmap(begin_, size_);
  begin_ = nullptr;
  size_ = 0;
}

}  // namespace graft::engine::cpu
