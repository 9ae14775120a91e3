// Sentences of tagged words, a word a line: CoNLL files and CoNLL-U.
#pragma once
#include <deque>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/stream.h"
#include "graft/dataset.h"

namespace graft::data {

// Columns are separated by tabs where the first word's line has one, else by white space; empty lines
// separate sentences. The word is the first column and the tag the last, unless the options name columns: by
// number from 1, or by the names of CoNLL-U (FORM and UPOS are its own). Skipped: -DOCSTART- lines; lines
// with # in front of a sentence that do not have the columns of a word; the ranges and empty nodes of
// CoNLL-U.
class ConllReader {
 public:
  // Reads ahead to the first word. Throws Error where the file has none, or not the columns.
  ConllReader(const std::filesystem::path& path, const DatasetOptions& options);
  // The words of the next sentence, with their tags unless options.ignore_label. False at the end. Throws
  // Error with file and line for a line with other columns and for an empty word or tag.
  bool next(Example& example);
  bool has_buffered_row() const { return !pending_.empty() || lines_.has_buffered_line(); }

 private:
  struct Line {
    int64_t number = 0;
    std::string text;
  };
  bool read_line(Line& line);
  void find_layout();
  void choose_columns(const Line& line);
  size_t column(const std::string& name, size_t fallback, const char* option) const;
  std::vector<std::string_view> split(std::string_view line) const;
  bool is_comment(const Line& line, bool in_sentence) const;
  void add_word(const Line& line, Example& example) const;

  LineReader lines_;
  std::string path_;
  DatasetOptions options_;
  std::deque<Line> pending_;        // read ahead
  std::vector<std::string> names_;  // of the columns; empty: they have numbers only
  bool tabs_ = false, conllu_ = false;
  size_t num_columns_ = 0, word_ = 0, tag_ = 0;
  int64_t first_line_ = 0;  // that fixed the columns
};

}  // namespace graft::data
