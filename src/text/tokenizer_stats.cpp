// Statistics of a tokenizer on a text: counts over lines, on all cores.
#include <exception>

#include "base/file.h"
#include "base/threads.h"
#include "base/utf8.h"
#include "graft/train_tokenizer.h"
#include "text/unicode.h"
#include "text/word_counts.h"

namespace graft {
namespace {

void add_line(const Tokenizer& tokenizer, std::string_view line, int32_t unknown, TokenizerStats& stats) {
  EncodeOptions options;
  options.add_special_tokens = false;
  options.ids_only = true;
  const Encoding e = tokenizer.encode(line, options);
  ++stats.lines;
  stats.bytes += static_cast<int64_t>(line.size());
  stats.tokens += static_cast<int64_t>(e.input_ids.size());
  stats.replaced += e.num_replaced;
  for (const int32_t id : e.input_ids) stats.unknown_tokens += id == unknown;
  const std::string valid = utf8::replace_invalid(line);
  bool in_word = false;
  for (size_t pos = 0; pos < valid.size(); ++stats.characters) {
    const bool space = text::is_whitespace(text::next_char(valid, pos));
    stats.words += !space && !in_word;
    in_word = !space;
  }
}

// Runs f(part, stats of the part) for each of n parts and returns the sum.
template <class F>
TokenizerStats sum_parts(size_t n, F f) {
  std::vector<TokenizerStats> parts(n);
  std::vector<std::exception_ptr> errors(n);
  parallel_for(static_cast<int64_t>(n), [&](int64_t i) {
    try {
      f(static_cast<size_t>(i), parts[i]);
    } catch (...) {
      errors[i] = std::current_exception();
    }
  });
  TokenizerStats all;
  for (size_t i = 0; i < n; ++i) {
    if (errors[i]) std::rethrow_exception(errors[i]);
    all += parts[i];
  }
  return all;
}

}  // namespace

TokenizerStats& TokenizerStats::operator+=(const TokenizerStats& other) {
  lines += other.lines;
  bytes += other.bytes;
  characters += other.characters;
  words += other.words;
  tokens += other.tokens;
  unknown_tokens += other.unknown_tokens;
  replaced += other.replaced;
  return *this;
}

TokenizerStats tokenizer_stats(const Tokenizer& tokenizer, const std::vector<std::string>& texts) {
  const int32_t unknown = tokenizer.special_id("unk_token").value_or(-1);
  constexpr size_t kGrain = 64;
  return sum_parts((texts.size() + kGrain - 1) / kGrain, [&](size_t part, TokenizerStats& stats) {
    for (size_t i = part * kGrain; i < std::min(texts.size(), (part + 1) * kGrain); ++i)
      add_line(tokenizer, texts[i], unknown, stats);
  });
}

TokenizerStats tokenizer_stats(const Tokenizer& tokenizer, const std::filesystem::path& path) {
  const MappedFile file(path);
  const int32_t unknown = tokenizer.special_id("unk_token").value_or(-1);
  const std::string_view all = utf8::without_bom(file.text());
  const std::vector<size_t> bounds = text::block_bounds(all, 1 << 20, path);
  return sum_parts(bounds.size() - 1, [&](size_t part, TokenizerStats& stats) {
    for (size_t pos = bounds[part]; pos < bounds[part + 1];) {
      const size_t end = std::min(all.find('\n', pos), all.size());
      add_line(tokenizer, all.substr(pos, end - pos), unknown, stats);
      pos = end + 1;
    }
  });
}

}  // namespace graft
