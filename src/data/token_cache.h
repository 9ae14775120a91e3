// Tokenised text on disk (array_cache.h), for corpora that are larger than memory and for the next run on the
// same ones.
#pragma once
#include <optional>

#include "data/array_cache.h"
#include "data/text_blocks.h"

namespace graft::data {

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
