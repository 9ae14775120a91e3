// How often each word occurs in a set of files.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft::text {

using WordCounts = std::vector<std::pair<std::string, int64_t>>;  // sorted by word, each once

// Counts of byte strings, in one arena.
class CountMap {
 public:
  void add(std::string_view key, int64_t count);
  size_t size() const { return entries_.size(); }
  std::string_view key(size_t i) const { return {arena_.data() + entries_[i].begin, entries_[i].size}; }
  int64_t count(size_t i) const { return entries_[i].count; }

 private:
  struct Entry {
    uint64_t begin;
    uint32_t size, hash;
    int64_t count;
  };
  void grow();
  std::vector<char> arena_;
  std::vector<Entry> entries_;
  std::vector<int32_t> slots_;
};

// Cuts a line of valid UTF-8 into pieces that later steps treat independently, and hands each to `emit`.
using Cutter = void (*)(std::string_view line, const std::function<void(std::string_view)>& emit);
void cut_at_spaces(std::string_view line, const std::function<void(std::string_view)>& emit);
void cut_gpt2(std::string_view line, const std::function<void(std::string_view)>& emit);

// As cut_gpt2 with a space in front of lines that have none.
void cut_gpt2_prefixed(std::string_view line, const std::function<void(std::string_view)>& emit);

// Turns a piece into the words that the model sees.
using Expander = std::function<void(std::string_view piece, std::vector<std::string>& words)>;

// Reads all files on all cores: lines are cut into pieces, each distinct piece is expanded once.
WordCounts count_words(const std::vector<std::filesystem::path>& files, Cutter cut, const Expander& expand);

// Offsets of blocks of about `size` bytes that end behind a newline, with 0 and text.size() at the ends. A
// line over kMaxRowBytes is an Error naming `path` and the line.
std::vector<size_t> block_bounds(std::string_view text, size_t size, const std::filesystem::path& path);

}  // namespace graft::text
