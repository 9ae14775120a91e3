#include "data/token_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "hub/cache.h"
#include "hub/sha256.h"

namespace graft::data {
namespace fs = std::filesystem;
namespace {

constexpr int kFormat = 1;  // of the files, and of what the tokenizers make of a text

// Locked while it lives, among processes and among the threads of one.
class FolderLock {
 public:
  explicit FolderLock(const fs::path& file) {
    fd_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd_ < 0)
      fail_with("choose a folder that you may write to (--tokenized_path)", "{}: cannot create it: {}",
                file.string(), std::strerror(errno));
    if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) return;
    log_info("{}: another process builds this cache; waiting for it", file.string());
    while (::flock(fd_, LOCK_EX) != 0 && errno == EINTR) {
    }
  }
  ~FolderLock() { ::close(fd_); }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int fd_;
};

// Removes the folder of a build that did not end.
struct Workspace {
  explicit Workspace(fs::path p) : path(std::move(p)) {
    remove_tree(path);
    make_folders(path);
  }
  ~Workspace() {
    try {
      remove_tree(path);
    } catch (...) {  // the next build removes it
    }
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  fs::path path;
};

Json fingerprint(const Tokenizer& tokenizer, const fs::path& work) {
  make_folders(work / "tokenizer");
  tokenizer.save(work / "tokenizer");
  Json json = Json::object();
  for (const fs::path& file : list_folder(work / "tokenizer"))
    json[file.filename().string()] = hub::sha256_of_file(file);
  remove_tree(work / "tokenizer");
  return json;
}

Json key_of(const std::vector<fs::path>& files, const Tokenizer& tokenizer, const TextBlockOptions& o,
            const fs::path& work) {
  Json sources = Json::array();
  for (const fs::path& file : files)  // the extensions decide how it is read
    sources.push_back({{"sha256", hub::sha256_of_file(file)},
                       {"format", file.stem().extension().string() + file.extension().string()}});
  const bool splits = o.validation_split_percentage > 0;
  return {{"format", kFormat},
          {"files", sources},
          {"tokenizer", fingerprint(tokenizer, work)},
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

// Writes the arrays of both parts.
class ArrayWriter : public TextBlockSink {
 public:
  explicit ArrayWriter(const fs::path& folder) {
    for (const char* part : kParts)
      for (const char* name : {"ids", "offsets", "word_starts", "documents"})
        files_.push_back(std::make_unique<DurableFile>(folder / fmt::format("{}.{}", part, name), 0));
    const int64_t zero = 0;
    for (const size_t part : {size_t{0}, size_t{1}}) file(part, 1).write(&zero, sizeof zero);
  }
  void take(bool validation, const TokenStore& s) override {
    const size_t part = validation ? 1 : 0;
    const auto write = [&](size_t which, const auto& array) {
      file(part, which).write(array.data(), array.size() * sizeof(*array.data()));
    };
    write(0, s.ids);
    write(1, s.offsets);
    write(2, s.word_starts);
    write(3, s.documents);
  }
  void commit() {
    for (const auto& file : files_) file->commit();
  }

 private:
  DurableFile& file(size_t part, size_t which) { return *files_[part * 4 + which]; }
  std::vector<std::unique_ptr<DurableFile>> files_;
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

std::vector<std::string> array_names() {
  std::vector<std::string> names;
  for (const char* part : kParts)
    for (const char* name : {"ids", "offsets", "word_starts", "documents"})
      names.push_back(fmt::format("{}.{}", part, name));
  return names;
}

Json manifest_of(const fs::path& folder, const TextBlockCounts& counts) {
  Json numbers = Json::object(), arrays = Json::object();
  for (const NamedCount& c : kCounts) numbers[c.name] = counts.*c.member;
  for (const std::string& name : array_names()) {
    const MappedFile file(folder / name);
    arrays[name] = {{"bytes", static_cast<int64_t>(file.size())},
                    {"sha256", hub::sha256_of_file(folder / name)}};
  }
  return {{"counts", numbers}, {"arrays", arrays}};
}

// What is wrong with a cache; "" = nothing.
std::string complaint_of(const fs::path& folder, const Json& key) try {
  if (!(read_json(folder / "key.json") == key)) return "key.json is not that of this cache";
  const Json arrays = read_json(folder / "manifest.json").at("arrays");
  for (const std::string& name : array_names()) {
    const Json& entry = arrays.at(name);
    const auto size = static_cast<int64_t>(MappedFile(folder / name).size());
    if (size != entry.at("bytes").get<int64_t>())
      return fmt::format("{} has {} bytes, not {}", name, size, entry.at("bytes").get<int64_t>());
    if (hub::sha256_of_file(folder / name) != entry.at("sha256").get<std::string>())
      return name + " has another sha256 than in manifest.json";
  }
  return "";
} catch (const std::exception& e) {  // a file that is absent or is not json
  return e.what();
}

TokenStore store_of(const fs::path& folder, const char* part) {
  const auto map = [&]<class T>(TokenArray<T>& to, const char* name) {
    to = TokenArray<T>(std::make_shared<StreamedFile>(folder / fmt::format("{}.{}", part, name)));
  };
  TokenStore store;
  map(store.ids, "ids");
  map(store.offsets, "offsets");
  map(store.word_starts, "word_starts");
  map(store.documents, "documents");
  return store;
}

TextBlocks open_cache(const fs::path& folder) {
  TextBlocks blocks;
  blocks.train = store_of(folder, kParts[0]);
  blocks.validation = store_of(folder, kParts[1]);
  const Json counts = read_json(folder / "manifest.json").at("counts");
  for (const NamedCount& c : kCounts) blocks.counts.*c.member = counts.at(c.name).get<int64_t>();
  return blocks;
}

void build_cache(const fs::path& work, const fs::path& folder, const std::vector<fs::path>& files,
                 const Tokenizer& tokenizer, const TextBlockOptions& options, const Json& key) {
  const auto encode = [&](std::string_view text, const EncodeOptions& o) {
    return tokenizer.encode(text, o);
  };
  ArrayWriter writer(work);
  const TextBlocks read = read_text_blocks(files, EncodeText(encode), options, &writer);
  writer.commit();
  write_json(work / "key.json", key);
  write_json(work / "manifest.json", manifest_of(work, read.counts));
  replace_folder(work, folder);
  sync_folder(folder.parent_path());
  log_info("tokenised text: {} tokens written to the cache {}", read.counts.tokens, folder.string());
}

}  // namespace

std::optional<TokenCache> choose_token_cache(const std::string& given, bool overwrite,
                                             const std::vector<fs::path>& files, uint64_t cached_bytes) {
  uint64_t bytes = 0;
  bool regular = true;
  for (const fs::path& file : files) {
    regular = regular && is_file(file);
    if (regular) bytes += MappedFile(file).size();
  }
  if (!regular) {
    if (!given.empty()) log_info("--tokenized_path {} has no effect: a file is not regular", given);
    return std::nullopt;
  }
  if (given.empty() && bytes < cached_bytes) {
    log_info(
        "the text ({}) is tokenised in memory; from {} on it is cached on disk, as with --tokenized_path",
        format_bytes(bytes), format_bytes(cached_bytes));
    return std::nullopt;
  }
  const fs::path folder = given.empty() ? hub::hf_home() / "graft-tokenized" : fs::path(given);
  return TokenCache{folder, overwrite};
}

TextBlocks read_cached_text_blocks(const std::vector<fs::path>& files, const Tokenizer& tokenizer,
                                   const TextBlockOptions& options, const TokenCache& cache) {
  make_folders(cache.folder);
  static std::atomic<int> runs = 0;
  const Workspace mine(cache.folder / fmt::format("key-{}-{}.tmp", ::getpid(), ++runs));
  const Json key = key_of(files, tokenizer, options, mine.path);
  write_json(mine.path / "key.json", key);
  const std::string name = hub::sha256_of_file(mine.path / "key.json");
  const fs::path folder = cache.folder / name;
  const FolderLock lock(cache.folder / (name + ".lock"));
  const bool there = is_folder(folder);
  const std::string complaint = there && !cache.overwrite ? complaint_of(folder, key) : "";
  if (there && !cache.overwrite && complaint.empty()) {
    TextBlocks blocks = open_cache(folder);
    log_info("tokenised text: {} tokens read from the cache {}", blocks.counts.tokens, folder.string());
    return blocks;
  }
  if (!complaint.empty())
    log_warning("{}: the cache is damaged and is built again: {}", folder.string(), complaint);
  const Workspace work(cache.folder / (name + ".tmp"));
  build_cache(work.path, folder, files, tokenizer, options, key);
  return open_cache(folder);
}

}  // namespace graft::data
