// The texts of a corpus, file after file. What is no text is left out and counted, so that a few damaged
// lines do not end a run over gigabytes; a file that is mostly damaged is refused.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/columns.h"
#include "data/rows.h"

namespace graft::transfer {

struct SourceText {
  std::string text;  // one line, without its end; line ends inside a text of csv or json are spaces
  size_t file = 0;   // index into files
  int64_t line = 0;
};

struct SourceCounts {
  int64_t lines = 0, empty_lines = 0;
  int64_t junk_lines = 0;  // dropped: bytes that are not UTF-8, or control characters
  std::string first_junk;  // "FILE: line 7: byte 0xFF at byte 3 of the line"
};

// The values of an option: files, and folders whose files with a known extension are taken, sorted by name.
// Throws Error for a folder without such a file and for a path that does not exist.
std::vector<std::filesystem::path> corpus_files(const std::vector<std::string>& paths, const char* option);

class TextSource {
 public:
  // `columns`: which columns of files with columns hold text.
  TextSource(std::vector<std::filesystem::path> files, DatasetOptions columns);

  // The next text that is not blank. False at the end. Throws Error as the readers of data do, and for a .txt
  // file of which more than a tenth of the lines is no text.
  bool next(SourceText& out);
  const SourceCounts& counts() const { return counts_; }
  const std::vector<std::filesystem::path>& files() const { return files_; }

 private:
  bool open_next();
  bool next_line(SourceText& out);
  bool next_row(SourceText& out);
  void end_file();

  std::vector<std::filesystem::path> files_;
  DatasetOptions columns_of_files_;
  SourceCounts counts_;
  size_t file_ = 0;  // the next one
  std::unique_ptr<data::LineReader> lines_;
  int64_t lines_of_file_ = 0, junk_of_file_ = 0;
  std::string first_junk_of_file_;
  std::unique_ptr<data::RowReader> rows_;
  data::Columns columns_;
  data::Row row_;
  bool second_text_ = false;  // the second text of row_ is next
};

}  // namespace graft::transfer
