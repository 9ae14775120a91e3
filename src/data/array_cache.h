// Arrays on disk that took long to compute, found by what they were made from.
//   FOLDER/KEY/key.json       what that is: sha256 of each file and of the tokenizer, the options
//   FOLDER/KEY/NAME ...       the arrays, as the machine has them
//   FOLDER/KEY/manifest.json  the counts; size and sha256 of each array
// KEY is the sha256 of key.json. The content of the files decides, not their names or times: a file that was
// copied or touched is the same, and one that was edited in place is another.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/durable_file.h"
#include "base/json.h"
#include "data/token_array.h"
#include "graft/tokenizer.h"

namespace graft::data {

struct TokenCache {
  std::filesystem::path folder;
  bool overwrite = false;  // builds it even if it is there
};

struct CachedArrays {
  std::filesystem::path folder;  // of the arrays
  Json counts;
  template <class T>
  TokenArray<T> map(const std::string& name) const {
    return TokenArray<T>(std::make_shared<StreamedFile>(folder / name));
  }
};

// The arrays `names` that were made from `key`, whose "tokens" is among the counts. `build` writes them into
// an empty folder and returns the counts; it is called where they are absent, incomplete, changed or of
// another version. Processes that need the same ones wait for the first. Throws Error for a folder that
// cannot be written.
CachedArrays open_array_cache(const TokenCache& cache, const Json& key, const std::vector<std::string>& names,
                              const std::function<Json(const std::filesystem::path& folder)>& build);

// What such a key says of a file, whose extensions decide how it is read, and of a tokenizer: the sha256 of
// the files that save() writes, into a folder inside of `folder` that is removed again.
Json key_of_file(const std::filesystem::path& file);
Json key_of_tokenizer(const Tokenizer& tokenizer, const std::filesystem::path& folder);

// From this size of all files together tokens are cached unless a folder is given: they take about as much
// memory.
inline constexpr uint64_t kCachedBytes = uint64_t{512} << 20;

// The bytes of all files together; none if one is not regular.
std::optional<uint64_t> size_of_files(const std::vector<std::filesystem::path>& files);
// Whether --tokenized_path `given` and the size of these files ask for a cache. Files that are not regular
// are never cached.
bool is_cached(const std::string& given, const std::vector<std::filesystem::path>& files,
               uint64_t cached_bytes = kCachedBytes);
// `given`, or the folder of the user's cache.
TokenCache token_cache_in(const std::string& given, bool overwrite);

// Writes arrays of a cache.
class ArrayFiles {
 public:
  ArrayFiles(const std::filesystem::path& folder, const std::vector<std::string>& names);
  template <class Array>
  void append(size_t which, const Array& array) {
    files_[which]->write(array.data(), array.size() * sizeof(*array.data()));
  }
  void commit();

 private:
  std::vector<std::unique_ptr<DurableFile>> files_;
};

}  // namespace graft::data
