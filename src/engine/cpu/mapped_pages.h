// Large memory in huge pages.
#pragma once
#include <cstddef>

namespace graft::engine::cpu {

// As ScratchBuffer, but from the system, and in 2 MB pages as far as whole ones go.
class MappedPages {
 public:
  MappedPages() = default;
  MappedPages(const MappedPages&) = delete;
  MappedPages& operator=(const MappedPages&) = delete;
  ~MappedPages() { free(); }
  // At least this many bytes, zero at first; the same memory while it suffices. Throws Error naming `what`.
  std::byte* at_least(size_t bytes, const char* what);

 private:
  void free();

  std::byte* begin_ = nullptr;
  size_t size_ = 0;
};

}  // namespace graft::engine::cpu
