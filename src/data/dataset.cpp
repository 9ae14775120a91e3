#include "graft/dataset.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "data/columns.h"
#include "data/label_tally.h"
#include "data/rows.h"

namespace graft {
namespace {

using data::Cell;
using data::Columns;

const Cell& cell_at(const data::Row& row, size_t i) {
  static const Cell kMissing;
  return i < row.cells.size() ? row.cells[i] : kMissing;
}

std::string text_of(const data::Row& row, size_t column, const std::string& name, const std::string& path) {
  const Cell& cell = cell_at(row, column);
  const char* what = nullptr;
  switch (cell.kind) {
    case Cell::Kind::missing:
      what = "is missing";
      break;
    case Cell::Kind::null:
      what = "is null";
      break;
    case Cell::Kind::list:
      what = "is a list, not a text";
      break;
    case Cell::Kind::object:
      what = "is an object, not a text";
      break;
    default:
      return cell.text;
  }
  fail_with("give the row a text (\"\" is one), or remove it", "{}: line {}: column '{}' {}", path, row.line,
            name, what);
}

// Builds the examples of one file.
class Loader {
 public:
  Loader(const std::filesystem::path& path, const DatasetOptions& options)
      : path_(path.string()), options_(options), rows_(data::open_rows(path)) {
    if (rows_->plain()) check_plain();
    columns_ = choose();
    const std::string label = columns_.label == Columns::kNone ? "label" : rows_->columns()[columns_.label];
    tally_.emplace(path_, label, rows_->untyped());
  }

  std::vector<Example> load() {
    std::vector<Example> examples;
    data::Row row;
    int64_t num_rows = 0;
    while (wanted(num_rows) && rows_->next(row)) {
      Example example = read(row);
      if (keeps(num_rows)) examples.push_back(std::move(example));
      ++num_rows;
    }
    if (num_rows == 0 && options_.max_samples != 0) fail_empty();
    if (num_empty_ > 0) {
      log_warning("{}: {} of {} texts are empty (the first on line {})", path_, num_empty_, num_rows,
                  first_empty_);
    }
    check_late_label();
    tally_->finish();
    for (Example& e : examples) {
      for (std::string& label : e.labels) label = tally_->canonical(label);
    }
    return examples;
  }

  const data::LabelTally& tally() const { return *tally_; }
  std::string label_column() const {
    return columns_.label == Columns::kNone ? "" : rows_->columns()[columns_.label];
  }

 private:
  void check_plain() const {
    if (options_.require_label) {
      fail_with("give a .csv, .tsv, .jsonl or .json file with a label column",
                "{}: a file with one text a line has no labels", path_);
    }
  }

  Columns choose() const {
    DatasetOptions options = options_;
    if (options.ignore_label) options.require_label = false, options.label_column.clear();
    Columns chosen = data::choose_columns(rows_->columns(), options, path_);
    if (options.ignore_label) chosen.label = Columns::kNone;
    return chosen;
  }

  bool keeps(int64_t i) const { return options_.max_samples < 0 || i < options_.max_samples; }
  // Rows beyond max_samples are read for the list of labels only.
  bool wanted(int64_t i) const { return keeps(i) || columns_.label != Columns::kNone; }

  Example read(const data::Row& row) {
    Example example;
    example.line = row.line;
    example.text = text_of(row, columns_.text, rows_->columns()[columns_.text], path_);
    if (columns_.pair != Columns::kNone) {
      example.text_pair = text_of(row, columns_.pair, rows_->columns()[columns_.pair], path_);
      example.has_pair = true;
    }
    if (example.text.empty() && num_empty_++ == 0) first_empty_ = row.line;
    if (columns_.label != Columns::kNone && !tally_->add(cell_at(row, columns_.label), row.line, example) &&
        options_.require_label) {
      fail_with("write the label, or remove the row", "{}: line {}: column '{}': the label is missing", path_,
                row.line, rows_->columns()[columns_.label]);
    }
    return example;
  }

  [[noreturn]] void fail_empty() const {
    fail_with(rows_->plain() ? "write one text a line" : "below the header write one row for each example",
              "{}: {}", path_, rows_->plain() ? "the file is empty" : "no rows below the header");
  }

  // In json a key may come late: a label column that the first row lacks must not be overlooked.
  void check_late_label() const {
    if (columns_.label != Columns::kNone || options_.ignore_label) return;
    const std::string late = data::usual_label_column(rows_->columns());
    if (late.empty()) return;
    fail_with("give every row its label (null where it has none)",
              "{}: some rows have '{}', but the first row has not", path_, late);
  }

  std::string path_;
  DatasetOptions options_;
  std::unique_ptr<data::RowReader> rows_;
  Columns columns_;
  std::optional<data::LabelTally> tally_;
  int64_t num_empty_ = 0, first_empty_ = 0;
};

}  // namespace

Dataset Dataset::from_file(const std::filesystem::path& path, const DatasetOptions& options) {
  Loader loader(path, options);
  Dataset dataset;
  dataset.examples_ = loader.load();
  dataset.origin_ = path.string();
  dataset.label_column_ = loader.label_column();
  dataset.label_kind_ = loader.tally().kind();
  dataset.label_item_kind_ = loader.tally().item_kind();
  dataset.label_counts_ = loader.tally().counts();
  return dataset;
}

Dataset::Dataset(std::vector<Example> examples, std::string origin)
    : examples_(std::move(examples)), origin_(std::move(origin)) {
  const bool lists = std::any_of(examples_.begin(), examples_.end(),
                                 [](const Example& e) { return e.labels.size() > 1 || e.no_label_applies; });
  data::LabelTally tally(origin_, "label", true);
  for (const Example& e : examples_) tally.add_strings(e, lists);
  tally.finish();
  for (Example& e : examples_) {
    for (std::string& label : e.labels) label = tally.canonical(label);
  }
  label_kind_ = tally.kind();
  label_item_kind_ = tally.item_kind();
  label_counts_ = tally.counts();
}

}  // namespace graft
