// What a hostile row may take: no reader needs more than eight times the bytes of its row.
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>

#include "data/example_reader.h"
#include "data/label_tally.h"
#include "graft/error.h"
#include "support/shared.h"

// What sanitizers keep of freed memory is not the readers'.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define GRAFT_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define GRAFT_SANITIZED 1
#endif
#endif
#ifndef GRAFT_SANITIZED
#define GRAFT_SANITIZED 0
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

// Whether f() passes in a process of its own that grows by less than eight rows.
bool passes_within_limit(const std::function<void()>& f) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::malloc_trim(0);  // what earlier tests left must not hide what is needed
    std::ofstream("/proc/self/clear_refs") << 5 << std::flush;  // nor count: the peak begins here (proc(5))
    int64_t size = 0, resident = 0;
    std::ifstream("/proc/self/statm") >> size >> resident;
    f();
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const int64_t grown = usage.ru_maxrss * 1024 - resident * ::sysconf(_SC_PAGESIZE);
    ::_exit(!GRAFT_SANITIZED && grown > 8 * static_cast<int64_t>(kRow));
  }
  int status = -1;
  return ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// Reads all rows and tallies the last column's labels. What is refused is an Error and no lack of memory.
void read_all(const std::filesystem::path& path) {
  try {
    ExampleReader reader(path, {});
    LabelTally tally(path.string(), "label", reader.untyped());
    Example example;
    while (reader.next(example)) tally.add(reader.label(), example.line, example);
    tally.finish();
  } catch (const Error&) {
  }
}

TEST(RowMemory, StaysWithinEightTimesTheRow) {
  const auto touch = [](size_t size) {
    volatile char* bytes = new char[size];
    for (size_t i = 0; i < size; i += 4096) bytes[i] = 1;
    delete[] bytes;
  };
  EXPECT_TRUE(passes_within_limit([&] { touch(7 * kRow); }));
  EXPECT_EQ(passes_within_limit([&] { touch(9 * kRow); }), GRAFT_SANITIZED == 1);
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
    EXPECT_TRUE(passes_within_limit([&] { read_all(path); }))
        << name << " needs more than eight times its row";
  }
}

}  // namespace
}  // namespace graft::data
