// Counts the words of a set of files.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft::text {

using WordCounts = std::vector<std::pair<std::string, int64_t>>;  // sorted by word, without repetition

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

// Cuts a line of valid UTF-8 into pieces that the later steps treat independently. Calls `emit` for each.
using Cutter = void (*)(std::string_view line, const std::function<void(std::string_view)>& emit);
void cut_at_spaces(std::string_view line, const std::function<void(std::string_view)>& emit);
void cut_gpt2(std::string_view line, const std::function<void(std::string_view)>& emit);

// As cut_gpt2, with a space added to lines that do not start with one.
void cut_gpt2_prefixed(std::string_view line, const std::function<void(std::string_view)>& emit);

// Converts a piece to the words of the model.
using Expander = std::function<void(std::string_view piece, std::vector<std::string>& words)>;

// Reads all files on all cores. Lines are cut into pieces, and each distinct piece is expanded once.
WordCounts count_words(const std::vector<std::filesystem::path>& files, Cutter cut, const Expander& expand);

// Offsets of blocks of about `size` bytes that end after a newline. The first offset is 0, the last
// text.size(). A line over kMaxRowBytes is an Error naming `path` and the line.
std::vector<size_t> block_bounds(std::string_view text, size_t size, const std::filesystem::path& path);

}  // namespace graft::text
