// What a hostile row may take: no reader needs more than eight times the bytes of its row.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "data/example_reader.h"
#include "data/label_tally.h"
#include "graft/error.h"
#include "support/shared.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define GRAFT_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define GRAFT_SANITIZED 1
#endif
#endif

namespace graft::data {
namespace {

constexpr size_t kRow = size_t{4} << 20;

std::string repeated(std::string_view piece, size_t size) {
  std::string out;
  out.reserve(size + piece.size());
  while (out.size() < size) out += piece;
  return out;
}

// Reads all rows and tallies the last column's labels, in a process that may grow by 8 rows. What is refused
// is an Error and no lack of memory.
[[noreturn]] void read_within_limit(const std::filesystem::path& path) {
  int64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const auto limit = static_cast<rlim_t>(pages * ::sysconf(_SC_PAGESIZE)) + 8 * kRow;
  const rlimit address_space{limit, limit};
  ::setrlimit(RLIMIT_AS, &address_space);
  try {
    ExampleReader reader(path, {});
    LabelTally tally(path.string(), "label", reader.untyped());
    Example example;
    while (reader.next(example)) tally.add(reader.label(), example.line, example);
    tally.finish();
  } catch (const Error& e) {
    std::fprintf(stderr, "refused: %.300s\n", e.what());
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "out of memory\n");
    ::_exit(1);
  }
  ::_exit(0);
}

TEST(RowMemory, StaysWithinEightTimesTheRow) {
#ifdef GRAFT_SANITIZED
  GTEST_SKIP() << "sanitizers reserve the address space that this test limits";
#endif
  const test::TempDir dir;
  std::string keys = "{\"text\":\"a\"";
  for (int i = 0; keys.size() < kRow; ++i) keys += ",\"k" + std::to_string(i) + "\":0";
  const std::string zeros = repeated("0,", kRow) + "0";
  const std::pair<const char*, std::string> files[] = {
      {"commas.csv", "text,label\n" + std::string(kRow, ',') + "\n"},
      {"header.csv", std::string(kRow, ',') + "\n"},
      {"quoted.csv", "text,label\n\"" + repeated("\"\"\n", kRow) + "\",1\n"},
      {"label.csv", "text,label\na," + repeated("0 ", kRow) + "\n"},
      {"tabs.tsv", "text\tlabel\n" + std::string(kRow, '\t') + "\n"},
      {"quotes.tsv", "text\tlabel\n" + repeated("\"\"\t", kRow) + "\n"},
      {"list.jsonl", "{\"text\":\"a\",\"x\":[" + zeros + "],\"label\":1}\n"},
      {"labels.jsonl", "{\"text\":\"a\",\"label\":[" + zeros + "]}\n"},
      {"lists.jsonl", "{\"text\":\"a\",\"x\":[" + repeated("[],", kRow) + "[]],\"label\":1}\n"},
      {"objects.json", "[{\"text\":\"a\",\"x\":[" + repeated("{},", kRow) + "{}],\"label\":1}]"},
      {"keys.jsonl", keys + "}\n"},
      {"keys.json", "[" + keys + "}]"},
      {"deep.jsonl", "{\"text\":" + std::string(kRow, '[') + "\n"},
      {"text.jsonl", "{\"text\":\"" + repeated("\\n\\u00e9", kRow) + "\",\"label\":1}\n"},
      {"text.json", "[{\"text\":\"" + repeated("\\n\\u00e9", kRow) + "\",\"label\":1}]"},
      {"skipped.json", "{\"x\":[" + zeros + "],\"data\":[{\"text\":\"a\",\"label\":1}]}"},
      {"text.txt", std::string(kRow, 'a')},
  };
  for (const auto& [name, content] : files) {
    const auto path = dir.write(name, content);
    const pid_t child = ::fork();
    if (child == 0) read_within_limit(path);
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0)
        << name << " needs more than eight times its row";
  }
}

}  // namespace
}  // namespace graft::data
