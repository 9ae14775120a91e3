#include "transfer/parallel_text.h"

#include <algorithm>

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"
#include "data/stream.h"
#include "data/text_reader.h"
#include "transfer/language_text.h"

namespace graft::transfer {
namespace fs = std::filesystem;

namespace {

struct PairReader {
  ParallelText& out;
  int64_t max_pairs, empty = 0, equal = 0;
  std::string first_empty{};  // where

  bool is_full() const { return max_pairs >= 0 && std::ssize(out.source) >= max_pairs; }
  void add(std::string source, std::string target, const fs::path& file, int64_t line) {
    if (data::is_blank(source) || data::is_blank(target)) {
      if (empty++ == 0) first_empty = fmt::format("{}: line {}", file.string(), line);
      return;
    }
    equal += source == target;
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
      add(line.substr(0, tab), line.substr(tab + 1), file, lines.line_number());
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
      if (x.find('\t') != std::string::npos && y.find('\t') != std::string::npos)
        fail_with("a comma joins the two sides of one text: separate files of two columns by a space",
                  "{} and {}: line {} of both has a tab, as files of two columns have", first.string(),
                  second.string(), a.line_number());
      add(x, y, first, a.line_number());
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

// Of the sentences from `begin` on, which are one side of a file.
void warn_of_scripts(const std::vector<std::string>& all, size_t begin, const std::string& file,
                     const char* side) {
  const size_t end = std::min(all.size(), begin + kTextsForScripts);
  const std::string why = script_complaint(scripts_of_texts(
      {all.begin() + static_cast<std::ptrdiff_t>(begin), all.begin() + static_cast<std::ptrdiff_t>(end)}));
  if (!why.empty()) log_warning("{}: the {} sentences: {}", file, side, why);
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
    const size_t comma = file.find(','), begin = out.source.size();
    if (comma == std::string::npos)
      reader.read_columns(file);
    else
      reader.read_files(file.substr(0, comma), file.substr(comma + 1));
    warn_of_scripts(out.source, begin, file, "first");
    warn_of_scripts(out.target, begin, file, "second");
  }
  if (out.source.empty())
    fail_with("write a sentence, a tab and its translation in each line",
              "{}: there is no pair of sentences in it", files.front());
  if (reader.empty > 0)
    log_warning("{} pairs with an empty side are left out (the first: {})", reader.empty, reader.first_empty);
  if (2 * reader.equal > std::ssize(out.source))
    log_warning("{} of {} pairs have the same text on both sides: they are no translations", reader.equal,
                out.source.size());
  return out;
}

}  // namespace graft::transfer
