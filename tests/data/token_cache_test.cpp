// The cache of tokenised text: what memory has, for as long as its content is what it was made from.
#include "data/token_cache.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include <fstream>

#include "base/file.h"
#include "base/folder.h"
#include "base/memory.h"
#include "graft/log.h"
#include "support/sanitized.h"
#include "support/shared.h"

namespace graft::data {
namespace {
namespace fs = std::filesystem;
using test::error_of;
using test::TempDir;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class TokenCacheTest : public testing::Test {
 protected:
  TokenCacheTest() {
    std::string text;
    for (int i = 0; i < 300; ++i)
      text += fmt::format("line {} has some words that are tokenised, {} of them\n\n", i, i * 7 % 13);
    file_ = dir_.write("corpus.txt", text);
    options_.max_seq_length = 16;
  }
  TextBlocks in_memory() const { return read_text_blocks({file_}, *tokenizer_, options_); }
  // Through the cache; what the log said is in said_.
  TextBlocks cached(bool overwrite = false) {
    said_.clear();
    struct Restored {  // also after an error
      LogSink before;
      ~Restored() { set_log_sink(before); }
    } const restored{set_log_sink([&](LogLevel, const std::string& text) { said_ += text + "\n"; })};
    return read_cached_text_blocks({file_}, *tokenizer_, options_, {cache(), overwrite});
  }
  fs::path cache() const { return dir_ / "cache"; }
  // The folder of the only cache.
  fs::path entry() const {
    fs::path found;
    for (const fs::path& path : list_folder(cache()))
      if (is_folder(path)) found = path;
    return found;
  }
  bool was_built() const { return said_.find("written to the cache") != std::string::npos; }
  static void expect_equal(const TextBlocks& a, const TextBlocks& b) {
    for (const auto& [x, y] : {std::pair{&a.train, &b.train}, {&a.validation, &b.validation}}) {
      EXPECT_TRUE(x->ids == y->ids);
      EXPECT_TRUE(x->offsets == y->offsets);
      EXPECT_TRUE(x->word_starts == y->word_starts);
      EXPECT_TRUE(x->documents == y->documents);
      ASSERT_EQ(x->size(), y->size());
      for (int64_t i = 0; i < x->size(); ++i) {
        ASSERT_EQ(x->length(i), y->length(i));
        ASSERT_TRUE(std::equal(x->row(i), x->row(i) + x->length(i), y->row(i)));
      }
    }
    EXPECT_EQ(a.counts.lines, b.counts.lines);
    EXPECT_EQ(a.counts.empty_lines, b.counts.empty_lines);
    EXPECT_EQ(a.counts.validation_lines, b.counts.validation_lines);
    EXPECT_EQ(a.counts.tokens, b.counts.tokens);
    EXPECT_EQ(a.counts.truncated_lines, b.counts.truncated_lines);
    EXPECT_EQ(a.counts.truncated_tokens, b.counts.truncated_tokens);
    EXPECT_EQ(a.counts.dropped_tokens, b.counts.dropped_tokens);
  }

  TempDir dir_;
  fs::path file_;
  std::shared_ptr<Tokenizer> tokenizer_ =
      Tokenizer::from_pretrained(test::fixture_path("golden/tokenizers/small-bert-uncased"));
  TextBlockOptions options_;
  std::string said_;
};

TEST_F(TokenCacheTest, HasWhatMemoryHas) {
  for (const bool line_by_line : {true, false})
    for (const int32_t percentage : {0, 10}) {
      options_.line_by_line = line_by_line;
      options_.word_starts = line_by_line;
      options_.documents = !line_by_line;
      options_.validation_split_percentage = percentage;
      const TextBlocks want = in_memory();
      ASSERT_GT(want.train.size(), 100);
      expect_equal(cached(), want);
      EXPECT_TRUE(was_built());
      expect_equal(cached(), want);
      EXPECT_THAT(said_, AllOf(HasSubstr("read from the cache"), Not(HasSubstr("written"))));
    }
  options_.max_train_samples = 7;
  expect_equal(cached(), in_memory());
  // Texts that fill no block.
  file_ = dir_.write("short.txt", "a b c\n");
  options_.max_seq_length = 100;
  expect_equal(cached(), in_memory());
}

// The content decides: not the name, not the time.
TEST_F(TokenCacheTest, IsFoundByContent) {
  cached();
  const std::string text = read_file(file_);
  file_ = dir_.write("copy.txt", text);
  cached();
  EXPECT_FALSE(was_built());
  // Edited in place: as many bytes, and the time of before.
  const auto time = fs::last_write_time(file_);
  std::string edited = text;
  edited[5] = 'x';
  dir_.write("copy.txt", edited);
  fs::last_write_time(file_, time);
  expect_equal(cached(), in_memory());
  EXPECT_TRUE(was_built());
  options_.max_seq_length = 17;
  expect_equal(cached(), in_memory());
  EXPECT_TRUE(was_built());
  tokenizer_ = Tokenizer::from_pretrained(test::fixture_path("golden/tokenizers/small-bert-cased"));
  expect_equal(cached(), in_memory());
  EXPECT_TRUE(was_built());
  cached();
  EXPECT_FALSE(was_built());
  cached(true);  // --overwrite_cache
  EXPECT_TRUE(was_built());
}

TEST_F(TokenCacheTest, DamageIsFoundAndBuiltAgain) {
  cached();
  const TextBlocks want = in_memory();
  const fs::path ids = entry() / "train.ids";
  const std::string good = read_file(ids);
  const auto damaged = [&](const char* why) {
    expect_equal(cached(), want);
    EXPECT_TRUE(was_built()) << why;
    EXPECT_THAT(said_, AllOf(HasSubstr("damaged"), HasSubstr(why)));
    cached();
    EXPECT_FALSE(was_built()) << why;
  };
  const TextBlocks mapped = cached();  // by a run that goes on
  std::string bad = good;
  bad[40] = static_cast<char>(bad[40] ^ 1);
  write_file(ids, bad);
  damaged("train.ids has another sha256");
  write_file(ids, good.substr(0, good.size() / 2));
  damaged("train.ids has");
  remove_file(ids);
  damaged("train.ids");
  write_file(entry() / "manifest.json", "{\"arrays\":");
  damaged("manifest.json");
  remove_file(entry() / "manifest.json");
  damaged("manifest.json");
  write_file(entry() / "key.json", "{}");
  damaged("key.json is not that of this cache");
  expect_equal(mapped, want);
}

// Three processes at once, and what a killed one left behind.
TEST_F(TokenCacheTest, ProcessesShareIt) {
  const TextBlocks want = in_memory();
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      const TextBlocks got = read_cached_text_blocks({file_}, *tokenizer_, options_, {cache(), false});
      ::_exit(got.train.ids == want.train.ids ? 0 : 1);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = -1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  cached();
  EXPECT_FALSE(was_built());
  const fs::path left = entry().string() + ".tmp";
  make_folders(left);
  write_file(left / "train.ids", "half");
  cached(true);
  for (const fs::path& path : list_folder(cache())) EXPECT_THAT(path.string(), Not(HasSubstr(".tmp")));
}

TEST_F(TokenCacheTest, AFailureLeavesNothing) {
  file_ = dir_.write("empty.txt", "\n\n");
  EXPECT_THAT(error_of([&] { cached(); }), HasSubstr("no text to train on"));
  EXPECT_TRUE(entry().empty());
  for (const fs::path& path : list_folder(cache())) EXPECT_THAT(path.string(), Not(HasSubstr(".tmp")));
  const fs::path no_folder = dir_.write("file", "x");
  EXPECT_THAT(error_of([&] {
                read_cached_text_blocks({file_}, *tokenizer_, options_, {no_folder, false});
              }),
              HasSubstr(no_folder.string()));
}

TEST_F(TokenCacheTest, IsChosenBySize) {
  const auto choose = [&](const std::string& given, uint64_t from) {
    return choose_token_cache(given, false, {file_}, from);
  };
  EXPECT_FALSE(choose("", 1 << 20));
  ASSERT_TRUE(choose("", 1000));
  EXPECT_EQ(choose("", 1000)->folder.filename(), "graft-tokenized");
  ASSERT_TRUE(choose("/somewhere", 1 << 20));
  EXPECT_EQ(choose("/somewhere", 1 << 20)->folder, "/somewhere");
  EXPECT_FALSE(choose_token_cache("/somewhere", false, {"-"}));
}

// A file of 400 MB, most of it holes: reading all of it keeps little resident.
TEST(StreamedFile, ReadingKeepsLittleInMemory) {
  if (graft::test::kSanitized) return;
  const TempDir dir;
  const fs::path path = dir.write("sparse", "");
  constexpr size_t kSize = size_t{400} << 20;
  ASSERT_EQ(::truncate(path.c_str(), kSize), 0);
  const TokenArray<int32_t> array(std::make_shared<StreamedFile>(path));
  ASSERT_EQ(array.size(), kSize / 4);
  const uint64_t before = resident_memory();
  uint64_t most = 0;
  int64_t sum = 0;
  for (size_t at = 0; at < array.size(); at += 4096) {
    const int32_t* values = array.read(at, 4096);
    for (size_t i = 0; i < 4096; i += 512) sum += values[i];
    if (at % (size_t{1} << 20) == 0) most = std::max(most, resident_memory());
  }
  EXPECT_EQ(sum, 0);
  EXPECT_LT(most - std::min(most, before), size_t{100} << 20);
}

// 600 MB of text, 320 MB of ids: neither building the cache nor reading it needs memory for them. (205 MB are
// needed for any size: pieces of text and their encodings, and the pages of each array that are kept.)
TEST_F(TokenCacheTest, SlowPeakDoesNotGrowWithTheFile) {
  if (graft::test::kSanitized) return;
  const fs::path large = dir_ / "large.txt";
  {
    std::ofstream out(large);
    const std::string text = read_file(file_);
    for (size_t written = 0; written < (size_t{600} << 20); written += text.size()) out << text;
  }
  options_.max_seq_length = 128;
  const pid_t child = ::fork();
  if (child == 0) {
    const uint64_t before = resident_memory();  // a new process: its peak counts from here
    for (int run = 0; run < 2; ++run) {
      const TextBlocks blocks = read_cached_text_blocks({large}, *tokenizer_, options_, {cache(), false});
      int64_t sum = 0;
      for (int64_t i = 0; i < blocks.train.size(); ++i)
        sum += blocks.train.row(i * 7919 % blocks.train.size())[3];
      if (sum == 0 || blocks.train.ids.size() < (size_t{80} << 20)) ::_exit(2);
    }
    ::_exit(peak_resident_memory() - before < (uint64_t{256} << 20) ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace graft::data
