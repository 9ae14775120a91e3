#include "transfer/vocabulary_choice.h"

#include <algorithm>

#include "base/error.h"
#include "data/text_reader.h"
#include "text/unicode.h"

namespace graft::transfer {

std::vector<int64_t> count_pieces(const Tokenizer& tokenizer, const PruneOptions& options, bool lower_case) {
  constexpr size_t kPiece = 4096;  // texts in flight
  EncodeOptions encode;
  encode.add_special_tokens = false;
  encode.ids_only = true;
  std::vector<int64_t> counts(static_cast<size_t>(tokenizer.vocab_size()));
  data::TextReader reader(options.vocabulary, options.columns);
  std::vector<std::string> texts;
  const auto count = [&] {
    for (const Encoding& e : tokenizer.encode_batch(texts, {}, encode))
      for (const int32_t id : e.input_ids) ++counts[static_cast<size_t>(id)];
    texts.clear();
  };
  for (std::string text; reader.next(text);) {
    texts.push_back(lower_case ? text::lower_case(text) : std::move(text));
    if (texts.size() == kPiece) count();
  }
  count();
  return counts;
}

VocabularyChoice choose_vocabulary(const text::VocabularyFiles& files, const std::vector<int64_t>& counts,
                                   const std::vector<int32_t>& fixed, const PruneOptions& options) {
  std::vector<bool> kept = files.required();
  const std::string file = options.vocabulary.front().string();
  for (const int32_t id : fixed)
    if (id < files.num_ids()) kept[static_cast<size_t>(id)] = true;
  auto size = std::count(kept.begin(), kept.end(), true);
  if (options.vocabulary_size > 0 && options.vocabulary_size < size)
    throw UsageError(fmt::format("--vocabulary_size {} is too small: the special tokens and the single "
                                 "characters are {} pieces",
                                 options.vocabulary_size, size),
                     "without them texts would have unknown tokens");
  std::vector<int32_t> order;
  int64_t most = 0;
  VocabularyChoice out;
  for (int32_t id = 0; id < static_cast<int32_t>(counts.size()); ++id) {
    const int64_t n = counts[static_cast<size_t>(id)];
    out.tokens += n;
    most = std::max(most, n);
    if (n > 0 && n >= options.min_count) order.push_back(id);
  }
  if (out.tokens == 0)
    fail_with("give files with text (--vocabulary)", "{}: no text: no piece of the vocabulary occurs", file);
  if (order.empty())
    fail_with(fmt::format("the most frequent piece occurs {} times", most),
              "--min_count {}: no piece of the vocabulary occurs as often", options.min_count);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return counts[static_cast<size_t>(a)] > counts[static_cast<size_t>(b)];
  });
  for (const int32_t id : order) {
    std::vector<int32_t> fresh = files.parts_of(id);
    fresh.push_back(id);
    std::erase_if(fresh, [&](int32_t part) { return kept[static_cast<size_t>(part)]; });
    std::sort(fresh.begin(), fresh.end());
    fresh.erase(std::unique(fresh.begin(), fresh.end()), fresh.end());
    const auto grown = size + std::ssize(fresh);
    if (options.vocabulary_size > 0 && grown > options.vocabulary_size) continue;
    for (const int32_t part : fresh) kept[static_cast<size_t>(part)] = true;
    size = grown;
  }
  for (int32_t id = 0; id < files.num_ids(); ++id) {
    if (!kept[static_cast<size_t>(id)]) continue;
    out.ids.push_back(id);
    if (static_cast<size_t>(id) < counts.size()) out.kept_tokens += counts[static_cast<size_t>(id)];
  }
  return out;
}

}  // namespace graft::transfer
