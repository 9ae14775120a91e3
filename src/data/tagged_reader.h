// Texts with tags, row by row: words and a tag for each, or a text and spans of it.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "data/conll.h"
#include "data/json_values.h"
#include "data/rows.h"
#include "graft/dataset.h"

namespace graft::data {

// Whether the extension is one of a CoNLL file: .conll .conllu .bio .iob .iob2, also compressed.
bool is_conll_file(const std::filesystem::path& path);

class TaggedReader {
 public:
  // By extension: CoNLL files, .csv, .jsonl and .json. A .txt or .tsv holds columns of CoNLL, or, with
  // options.ignore_label, a .txt (and standard input) texts, one a line. Throws Error for a file without
  // words or texts, or without tags unless options.ignore_label.
  TaggedReader(const std::filesystem::path& path, const DatasetOptions& options);

  // Words with tags, or a text with spans, of the next row; with ignore_label without either. False at the
  // end. Throws Error with file and line: not as many tags as words, spans that are empty, overlap or reach
  // beyond the text.
  bool next(Example& example);
  bool has_buffered_row() const;
  // Whether the rows are texts with spans (or texts alone), not words.
  bool reads_texts() const { return !conll_ && words_ == kNone; }
  // Whether all tags so far are integers.
  bool integer_tags() const { return num_integers_ > 0 && num_names_ == 0; }
  std::string tag_column() const;  // its name; "" in a CoNLL file

 private:
  static constexpr size_t kNone = static_cast<size_t>(-1);
  void choose_columns();
  size_t first_of(const std::string& named, const char* option,
                  std::initializer_list<const char*> usual) const;
  const Cell& cell(size_t column) const;
  std::vector<Cell> items(size_t column, const char* what);
  void read_words(Example& example);
  void read_spans(Example& example);
  TextSpan read_span(const Cell& item, size_t index) const;
  int64_t read_position(const Cell& value, const char* name, size_t index) const;
  void check_spans(Example& example) const;
  void count_tag(const Cell& tag, size_t index);
  [[noreturn]] void fail_row(const std::string& hint, const std::string& what) const;

  std::string path_;
  DatasetOptions options_;
  std::unique_ptr<ConllReader> conll_;
  std::unique_ptr<RowReader> rows_;
  Row row_;
  size_t words_ = kNone, text_ = kNone, tags_ = kNone;
  int64_t num_integers_ = 0, num_names_ = 0, first_integer_ = 0, first_name_ = 0;
};

}  // namespace graft::data
