// Numbers in memory, or in a file that may be larger than memory.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <vector>

#include "base/file.h"

namespace graft::data {

// A mapped file whose pages are dropped after every so many bytes that are read: they stay in the page cache
// of the system, and the resident memory of the process does not grow with the file.
class StreamedFile {
 public:
  explicit StreamedFile(const std::filesystem::path& path) : file_(path) {}
  const MappedFile& file() const { return file_; }
  void count(size_t bytes) const {
    if (read_.fetch_add(std::max(bytes, kAround)) < kKept) return;
    read_ = 0;
    file_.drop(0, file_.size());
  }

 private:
  static constexpr size_t kAround = size_t{64} << 10;  // the kernel maps the pages around one that is read
  static constexpr size_t kKept = size_t{32} << 20;
  MappedFile file_;
  mutable std::atomic<size_t> read_ = 0;
};

template <class T>
class TokenArray {
 public:
  TokenArray() = default;
  TokenArray(std::initializer_list<T> values) : own_(values) {}
  TokenArray(std::vector<T> values) : own_(std::move(values)) {}  // NOLINT: a vector is one
  explicit TokenArray(std::shared_ptr<const StreamedFile> file) : file_(std::move(file)) {}

  size_t size() const { return file_ ? file_->file().size() / sizeof(T) : own_.size(); }
  bool empty() const { return size() == 0; }
  const T* data() const { return file_ ? reinterpret_cast<const T*>(file_->file().data()) : own_.data(); }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size(); }
  T operator[](size_t i) const { return *read(i, 1); }
  T back() const { return (*this)[size() - 1]; }
  // Values [at, at + n), valid until the next reads.
  const T* read(size_t at, size_t n) const {
    if (file_) file_->count(n * sizeof(T));
    return data() + at;
  }
  // Of an array in memory.
  std::vector<T>& own() { return own_; }
  void push_back(T value) { own_.push_back(value); }
  void clear() { *this = TokenArray(); }

  friend bool operator==(const TokenArray& a, const TokenArray& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  std::vector<T> own_;
  std::shared_ptr<const StreamedFile> file_;
};

}  // namespace graft::data
