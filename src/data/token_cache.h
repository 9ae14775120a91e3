// Tokenised text on disk, for corpora that are larger than memory and for the next run on the same ones.
//   FOLDER/KEY/key.json       what it was made from: sha256 of each file and of the tokenizer, the options
//   FOLDER/KEY/train.ids ...  the arrays of TextBlocks, as the machine has them
//   FOLDER/KEY/manifest.json  the counts; size and sha256 of each array
// KEY is the sha256 of key.json. The content of the files decides, not their names or times: a file that was
// copied or touched is the same, and one that was edited in place is another.
#pragma once
#include <optional>

#include "data/text_blocks.h"

namespace graft::data {

struct TokenCache {
  std::filesystem::path folder;
  bool overwrite = false;  // builds it even if it is there
};

// From this size of all files together text is cached unless a folder is given: the tokens take about as much
// memory.
inline constexpr uint64_t kCachedBytes = uint64_t{512} << 20;

// The cache for these files: in `given`; if that is empty, in the user's cache folder for files of at least
// `cached_bytes` together. None: they are tokenised in memory. Files that are not regular are never cached.
std::optional<TokenCache> choose_token_cache(const std::string& given, bool overwrite,
                                             const std::vector<std::filesystem::path>& files,
                                             uint64_t cached_bytes = kCachedBytes);

// read_text_blocks through the cache: the arrays are those of its files, mapped. A cache that is incomplete,
// changed or of another version is built again. Processes that need the same one wait for the first. Throws
// Error as read_text_blocks does, and for a folder that cannot be written.
TextBlocks read_cached_text_blocks(const std::vector<std::filesystem::path>& files,
                                   const Tokenizer& tokenizer, const TextBlockOptions& options,
                                   const TokenCache& cache);

}  // namespace graft::data
