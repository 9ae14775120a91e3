#include "text/word_counts.h"

#include <algorithm>
#include <exception>
#include <mutex>

#include "base/error.h"
#include "base/file.h"
#include "base/threads.h"
#include "base/utf8.h"
#include "text/pattern.h"
#include "text/vocab.h"

namespace graft::text {
namespace {

constexpr size_t kBlockBytes = 4 << 20;

void count_block(std::string_view block, Cutter cut, CountMap& counts) {
  std::string valid;
  if (utf8::find_invalid(block) != std::string_view::npos) {
    valid = utf8::replace_invalid(block);
    block = valid;
  }
  for (size_t pos = 0; pos < block.size();) {
    const size_t end = std::min(block.find('\n', pos), block.size());
    std::string_view line = block.substr(pos, end - pos);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    cut(line, [&](std::string_view piece) { counts.add(piece, 1); });
    pos = end + 1;
  }
}

// Counts of a whole file. Blocks go to any free thread, because the order of the sums does not matter.
void count_file(const MappedFile& file, Cutter cut, std::vector<CountMap>& maps) {
  const std::string_view text = utf8::without_bom(file.text());
  const size_t skipped = file.size() - text.size();
  const std::vector<size_t> bounds = block_bounds(text, kBlockBytes, file.path());
  std::vector<int> free_maps(maps.size());
  for (size_t i = 0; i < maps.size(); ++i) free_maps[i] = static_cast<int>(i);
  std::mutex mutex;
  parallel_for(static_cast<int64_t>(bounds.size()) - 1, [&](int64_t b) {
    int map = 0;
    {
      const std::lock_guard<std::mutex> lock(mutex);
      map = free_maps.back();
      free_maps.pop_back();
    }
    count_block(text.substr(bounds[b], bounds[b + 1] - bounds[b]), cut, maps[map]);
    file.drop(skipped + bounds[b], bounds[b + 1] - bounds[b]);
    const std::lock_guard<std::mutex> lock(mutex);
    free_maps.push_back(map);
  });
}

}  // namespace

void CountMap::grow() {
  slots_.assign(slots_.empty() ? 1024 : slots_.size() * 2, -1);
  const size_t mask = slots_.size() - 1;
  for (size_t i = 0; i < entries_.size(); ++i) {
    size_t slot = entries_[i].hash & mask;
    while (slots_[slot] >= 0) slot = (slot + 1) & mask;
    slots_[slot] = static_cast<int32_t>(i);
  }
}

void CountMap::add(std::string_view key, int64_t count) {
  if ((entries_.size() + 1) * 2 > slots_.size()) grow();
  const auto hash = static_cast<uint32_t>(hash_bytes(key.data(), key.size()));
  const size_t mask = slots_.size() - 1;
  size_t slot = hash & mask;
  for (; slots_[slot] >= 0; slot = (slot + 1) & mask) {
    const auto i = static_cast<size_t>(slots_[slot]);
    if (entries_[i].hash == hash && this->key(i) == key) {
      entries_[i].count += count;
      return;
    }
  }
  slots_[slot] = static_cast<int32_t>(entries_.size());
  entries_.push_back({arena_.size(), static_cast<uint32_t>(key.size()), hash, count});
  arena_.insert(arena_.end(), key.begin(), key.end());
}

void cut_at_spaces(std::string_view line, const std::function<void(std::string_view)>& emit) {
  constexpr std::string_view kSpaces = " \t\n\v\f\r";
  for (size_t pos = line.find_first_not_of(kSpaces); pos < line.size();) {
    const size_t end = std::min(line.find_first_of(kSpaces, pos), line.size());
    emit(line.substr(pos, end - pos));
    pos = line.find_first_not_of(kSpaces, end);
  }
}

void cut_gpt2(std::string_view line, const std::function<void(std::string_view)>& emit) {
  for (size_t pos = 0; pos < line.size();) {
    const size_t end = gpt2_word_end(line, pos, line.size());
    emit(line.substr(pos, end - pos));
    pos = end;
  }
}

void cut_gpt2_prefixed(std::string_view line, const std::function<void(std::string_view)>& emit) {
  if (line.empty() || line[0] == ' ') return cut_gpt2(line, emit);
  cut_gpt2(" " + std::string(line), emit);
}

std::vector<size_t> block_bounds(std::string_view text, size_t size, const std::filesystem::path& path) {
  std::vector<size_t> bounds{0};
  while (bounds.back() < text.size()) {
    const size_t begin = bounds.back(), from = std::min(begin + size, text.size());
    const size_t newline = from < text.size() ? text.find('\n', from) : std::string_view::npos;
    const size_t end = newline == std::string_view::npos ? text.size() : newline + 1;
    if (end - begin > kMaxRowBytes) {  // the line begins in the first `size` bytes of the block
      const size_t last = text.substr(begin, size).rfind('\n');
      const size_t line = last == std::string_view::npos ? begin : begin + last + 1;
      if (end - line > kMaxRowBytes + 1)
        fail_with("a text is one line: check that the file has line ends (U+000A)",
                  "{}: line {}: longer than {} MiB", path.string(),
                  1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(line), '\n'),
                  kMaxRowBytes >> 20);
    }
    bounds.push_back(end);
  }
  return bounds;
}

WordCounts count_words(const std::vector<std::filesystem::path>& files, Cutter cut, const Expander& expand) {
  std::vector<CountMap> maps(static_cast<size_t>(num_threads()));
  for (const std::filesystem::path& path : files) count_file(MappedFile(path), cut, maps);
  for (size_t m = 1; m < maps.size(); ++m) {
    for (size_t i = 0; i < maps[m].size(); ++i) maps[0].add(maps[m].key(i), maps[m].count(i));
    maps[m] = {};
  }
  const CountMap& pieces = maps[0];
  constexpr int64_t kGrain = 4096;
  std::vector<CountMap> parts((pieces.size() + kGrain - 1) / kGrain);
  parallel_blocks(static_cast<int64_t>(pieces.size()), kGrain, [&](int64_t begin, int64_t end) {
    std::vector<std::string> words;
    CountMap& part = parts[static_cast<size_t>(begin / kGrain)];
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      words.clear();
      expand(pieces.key(i), words);
      for (const std::string& word : words) part.add(word, pieces.count(i));
    }
  });
  CountMap all;
  for (CountMap& part : parts) {
    for (size_t i = 0; i < part.size(); ++i) all.add(part.key(i), part.count(i));
    part = {};
  }
  WordCounts counts;
  counts.reserve(all.size());
  for (size_t i = 0; i < all.size(); ++i) counts.emplace_back(std::string(all.key(i)), all.count(i));
  std::sort(counts.begin(), counts.end());
  return counts;
}

}  // namespace graft::text
