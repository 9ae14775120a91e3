#include "transfer/parallel_text.h"

#include <algorithm>

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "data/stream.h"
#include "data/text_reader.h"

namespace graft::transfer {
namespace fs = std::filesystem;

namespace {

struct PairReader {
  ParallelText& out;
  int64_t max_pairs, empty = 0;

  bool is_full() const { return max_pairs >= 0 && std::ssize(out.source) >= max_pairs; }
  void add(std::string source, std::string target) {
    if (data::is_blank(source) || data::is_blank(target)) {
      ++empty;
      return;
    }
    out.source.push_back(std::move(source));
    out.target.push_back(std::move(target));
  }

  void read_columns(const fs::path& file) {
    data::LineReader lines(file);
    for (std::string line; !is_full() && lines.next(line);) {
      const size_t tab = line.find('\t');
      if (tab == std::string::npos)
        fail_with("write both sentences with a tab between them, or name two files: en.txt,de.txt",
                  "{}: line {}: there is no tab, so the second sentence is missing", file.string(),
                  lines.line_number());
      if (line.find('\t', tab + 1) != std::string::npos)
        fail_with("write two columns", "{}: line {}: has more than one tab", file.string(),
                  lines.line_number());
      add(line.substr(0, tab), line.substr(tab + 1));
    }
  }

  void read_files(const fs::path& first, const fs::path& second) {
    data::LineReader a(first), b(second);
    std::string x, y;
    while (!is_full()) {
      const bool has_x = a.next(x), has_y = b.next(y);
      if (!has_x && !has_y) return;
      if (has_x != has_y) {
        const fs::path &longer = has_x ? first : second, &shorter = has_x ? second : first;
        const int64_t line = has_x ? a.line_number() : b.line_number();
        fail_with("parallel files have as many lines as each other, line by line",
                  "{}: line {} has no partner: {} ends with line {}", longer.string(), line, shorter.string(),
                  line - 1);
      }
      add(x, y);
    }
  }
};

void check_not_twice(const std::vector<fs::path>& files) {
  for (size_t i = 0; i < files.size(); ++i)
    for (size_t j = 0; j < i; ++j) {
      std::error_code ignored;
      if (fs::equivalent(files[i], files[j], ignored))
        throw UsageError(fmt::format("--parallel: {} is given twice", files[i].string()),
                         "name each file once");
    }
}

}  // namespace

ParallelText read_parallel(const std::vector<std::string>& files, int64_t max_pairs) {
  std::vector<fs::path> all;
  for (const std::string& file : files) {
    const size_t comma = file.find(',');
    all.emplace_back(file.substr(0, comma));
    if (comma != std::string::npos) all.emplace_back(file.substr(comma + 1));
  }
  check_not_twice(all);
  ParallelText out;
  PairReader reader{out, max_pairs};
  for (const std::string& file : files) {
    const size_t comma = file.find(',');
    if (comma == std::string::npos)
      reader.read_columns(file);
    else
      reader.read_files(file.substr(0, comma), file.substr(comma + 1));
  }
  if (out.source.empty()) fail("{}: there is no pair of sentences in it", files.front());
  if (reader.empty > 0) log_warning("{} pairs with an empty side are left out", reader.empty);
  return out;
}

}  // namespace graft::transfer
