// The readers of questions, choices and tagged texts on arbitrary bytes: graft::Error, or examples that hold
// what their headers promise. The first byte chooses the reader and the extension.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "data/choice_reader.h"
#include "data/question_reader.h"
#include "data/tagged_reader.h"
#include "graft/error.h"

namespace {

using namespace graft;
using namespace graft::data;

void hold(bool promise) {
  if (!promise) std::abort();
}

// Code points of valid UTF-8.
int64_t length_of(std::string_view text) {
  int64_t n = 0;
  for (const char c : text) n += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return n;
}

void check_tagged(const Example& e, bool texts) {
  if (!texts) return hold(!e.words.empty());
  int64_t end = 0;
  for (const TextSpan& span : e.spans) {
    hold(span.begin >= end && span.end > span.begin);
    end = span.end;
  }
  hold(end <= length_of(e.text));
}

template <class Reader, class Check>
void read_all(const std::filesystem::path& path, const DatasetOptions& options, const Check& check) {
  Reader reader(path, options);
  for (Example example; reader.next(example);) check(reader, example);
}

void read(int kind, const std::filesystem::path& path, const DatasetOptions& options) {
  if (kind == 0)
    return read_all<QuestionReader>(path, options,
                                    [](const auto&, const Example& e) { hold(e.has_pair && e.line > 0); });
  if (kind == 1)
    return read_all<ChoiceReader>(path, options,
                                  [](const auto&, const Example& e) { hold(e.choices.size() >= 2); });
  read_all<TaggedReader>(path, options, [&](const TaggedReader& reader, const Example& e) {
    check_tagged(e, reader.reads_texts());
  });
}

std::filesystem::path folder() {
  static const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("graft-fuzz-" + std::to_string(getpid()));
  static const bool made = [] {
    std::filesystem::create_directories(path);
    std::atexit([] { std::filesystem::remove_all(path); });
    return true;
  }();
  static_cast<void>(made);
  return path;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const char* const extensions[] = {"json", "jsonl", "csv", "conll", "conllu"};
  const int kind = data[0] % 3;
  const std::filesystem::path path = folder() / (std::string("rows.") + extensions[data[0] / 3 % 5]);
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(reinterpret_cast<const char*>(data) + 1, static_cast<std::streamsize>(size - 1));
  DatasetOptions options;
  options.require_label = data[0] / 15 % 2 == 1;
  options.ignore_label = data[0] / 30 % 2 == 1;
  try {
    read(kind, path, options);
  } catch (const graft::Error&) {
  }
  return 0;
}
