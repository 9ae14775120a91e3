#include "transfer/overlap.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/shown.h"
#include "data/rows.h"
#include "transfer/text_source.h"
#include "transfer/words.h"

namespace graft::transfer {

void TestTexts::add_file(const std::filesystem::path& file, const DatasetOptions& columns) {
  if (data::known_format(file)) {
    TextSource source({file}, columns);
    for (SourceText text; source.next(text);)
      add_text(text.text, fmt::format("{}: line {}", file.string(), text.line));
    return;
  }
  DatasetOptions tagged;  // CoNLL
  tagged.tagged_words = true;
  const Dataset rows = Dataset::from_file(file, tagged);
  for (const Example& row : rows.examples()) {
    std::string text = row.text;
    for (const TaggedWord& word : row.words) text += (text.empty() ? "" : " ") + word.text;
    add_text(text, fmt::format("{}: line {}", file.string(), row.line));
  }
}

void TestTexts::add_text(const std::string& text, const std::string& place) {
  std::vector<uint64_t> words;
  word_hashes(text, words);
  if (words.size() < kFewestWords) {
    ++report_.short_texts;
    return;
  }
  const auto id = static_cast<uint32_t>(places_.size());
  const size_t length = std::min(kRun, words.size());
  has_length_[length] = true;
  for (size_t i = 0; i + length <= words.size(); ++i) runs_.emplace(hash_of_words(words, i, length), id);
  places_.push_back(place);
  found_.push_back(false);
  ++report_.test_texts;
}

bool TestTexts::look_in(const std::string& line, const std::vector<uint64_t>& words,
                        const std::string& corpus_file, int64_t number) {
  bool any = false;
  for (size_t length = kFewestWords; length <= kRun; ++length) {
    if (!has_length_[length]) continue;
    for (size_t i = 0; i + length <= words.size(); ++i) {
      const auto hit = runs_.find(hash_of_words(words, i, length));
      if (hit == runs_.end()) continue;
      const uint32_t id = hit->second;
      if (!found_[id]) {
        found_[id] = true;
        ++report_.found_texts;
        if (report_.examples.size() < kExamples)
          report_.examples.push_back(
              {fmt::format("{}: line {}", corpus_file, number), places_[id], shown(line, 120)});
      }
      any = true;
    }
  }
  report_.corpus_lines += any;
  return any;
}

}  // namespace graft::transfer
