#include "data/token_cache.h"

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/memory.h"

namespace graft::data {
namespace fs = std::filesystem;
namespace {

constexpr int kFormat = 1;  // of the files, and of what the tokenizers make of a text

Json key_of_blocks(const std::vector<fs::path>& files, const Tokenizer& tokenizer, const TextBlockOptions& o,
                   const fs::path& folder) {
  Json sources = Json::array();
  for (const fs::path& file : files) sources.push_back(key_of_file(file));
  const bool splits = o.validation_split_percentage > 0;
  return {{"format", kFormat},
          {"files", sources},
          {"tokenizer", key_of_tokenizer(tokenizer, folder)},
          {"line_by_line", o.line_by_line},
          {"max_seq_length", o.max_seq_length},
          {"word_starts", o.word_starts},
          {"documents", o.documents},
          {"validation_split_percentage", o.validation_split_percentage},
          {"seed", splits ? Json(o.seed) : Json(nullptr)},
          {"max_train_samples", o.max_train_samples},
          {"max_validation_samples", o.max_validation_samples},
          {"text_column", o.columns.text_column},
          {"text_pair_column", o.columns.text_pair_column}};
}

constexpr const char* kParts[] = {"train", "validation"};

std::vector<std::string> array_names() {
  std::vector<std::string> names;
  for (const char* part : kParts)
    for (const char* name : {"ids", "offsets", "word_starts", "documents"})
      names.push_back(fmt::format("{}.{}", part, name));
  return names;
}

// Writes the arrays of both parts.
class BlockWriter : public TextBlockSink {
 public:
  explicit BlockWriter(const fs::path& folder) : files_(folder, array_names()) {
    for (const size_t part : {size_t{0}, size_t{1}}) files_.append(part * 4 + 1, std::vector<int64_t>{0});
  }
  void take(bool validation, const TokenStore& s) override {
    const size_t first = validation ? 4 : 0;
    files_.append(first, s.ids);
    files_.append(first + 1, s.offsets);
    files_.append(first + 2, s.word_starts);
    files_.append(first + 3, s.documents);
  }
  void commit() { files_.commit(); }

 private:
  ArrayFiles files_;
};

// The counts by name.
struct NamedCount {
  const char* name;
  int64_t TextBlockCounts::*member;
};
constexpr NamedCount kCounts[] = {{"lines", &TextBlockCounts::lines},
                                  {"empty_lines", &TextBlockCounts::empty_lines},
                                  {"validation_lines", &TextBlockCounts::validation_lines},
                                  {"tokens", &TextBlockCounts::tokens},
                                  {"truncated_lines", &TextBlockCounts::truncated_lines},
                                  {"truncated_tokens", &TextBlockCounts::truncated_tokens},
                                  {"dropped_tokens", &TextBlockCounts::dropped_tokens}};

Json build_blocks(const fs::path& folder, const std::vector<fs::path>& files, const Tokenizer& tokenizer,
                  const TextBlockOptions& options) {
  const auto encode = [&](std::string_view text, const EncodeOptions& o) {
    return tokenizer.encode(text, o);
  };
  BlockWriter writer(folder);
  const TextBlocks read = read_text_blocks(files, EncodeText(encode), options, &writer);
  writer.commit();
  Json numbers = Json::object();
  for (const NamedCount& c : kCounts) numbers[c.name] = read.counts.*c.member;
  return numbers;
}

TokenStore store_of(const CachedArrays& arrays, const std::string& part) {
  TokenStore store;
  store.ids = arrays.map<int32_t>(part + ".ids");
  store.offsets = arrays.map<int64_t>(part + ".offsets");
  store.word_starts = arrays.map<uint8_t>(part + ".word_starts");
  store.documents = arrays.map<int64_t>(part + ".documents");
  return store;
}

}  // namespace

std::optional<TokenCache> choose_token_cache(const std::string& given, bool overwrite,
                                             const std::vector<fs::path>& files, uint64_t cached_bytes) {
  if (is_cached(given, files, cached_bytes)) return token_cache_in(given, overwrite);
  const std::optional<uint64_t> bytes = size_of_files(files);
  if (!bytes) {
    if (!given.empty()) log_info("--tokenized_path {} has no effect: a file is not regular", given);
    return std::nullopt;
  }
  log_info("the text ({}) is tokenised in memory; from {} on it is cached on disk, as with --tokenized_path",
           format_bytes(*bytes), format_bytes(cached_bytes));
  return std::nullopt;
}

TextBlocks read_cached_text_blocks(const std::vector<fs::path>& files, const Tokenizer& tokenizer,
                                   const TextBlockOptions& options, const TokenCache& cache) {
  const Json key = key_of_blocks(files, tokenizer, options, cache.folder);
  const CachedArrays arrays = open_array_cache(cache, key, array_names(), [&](const fs::path& folder) {
    return build_blocks(folder, files, tokenizer, options);
  });
  TextBlocks blocks;
  blocks.train = store_of(arrays, kParts[0]);
  blocks.validation = store_of(arrays, kParts[1]);
  for (const NamedCount& c : kCounts) blocks.counts.*c.member = arrays.counts.at(c.name).get<int64_t>();
  return blocks;
}

}  // namespace graft::data
