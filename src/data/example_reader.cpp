#include "data/example_reader.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "base/shown.h"
#include "data/json_values.h"

namespace graft::data {
namespace {

const Cell& cell_at(const Row& row, size_t i) {
  static const Cell kMissing;
  return i < row.cells.size() ? row.cells[i] : kMissing;
}

// A finite number that is the whole text.
std::optional<double> number_in(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

}  // namespace

ExampleReader::ExampleReader(const std::filesystem::path& path, const DatasetOptions& options)
    : ExampleReader(open_rows(path), path, options) {}

ExampleReader::ExampleReader(std::unique_ptr<RowReader> rows, const std::filesystem::path& path,
                             const DatasetOptions& options)
    : path_(name_of(path)), options_(options), rows_(std::move(rows)) {
  if (options_.ignore_label) {
    options_.require_label = false;
    options_.label_column.clear();
    options_.target_column.clear();
  }
  const bool needs_target = options_.text_to_text && !options_.ignore_label;
  if (rows_->is_text() && options_.tuples)
    fail_with("give a .csv, .tsv, .jsonl or .json file with two columns of texts",
              "{}: a file with one text a line has no pairs", path_);
  if (rows_->is_text() && (options_.require_label || needs_target)) {
    fail_with(fmt::format("give a .csv, .tsv, .jsonl or .json file with a {} column",
                          needs_target ? "target" : "label"),
              "{}: a file with one text a line has no {}", path_, needs_target ? "targets" : "labels");
  }
  if (options_.ignore_label) options_.target_lang.clear();
  if (options_.tuples)
    columns_ = choose_tuple_columns(rows_->columns(), options_, path_);
  else if (options_.source_lang.empty() && options_.target_lang.empty())
    columns_ = choose_columns(rows_->columns(), options_, path_, rows_->separator());
  else
    choose_languages();
  num_first_columns_ = rows_->columns().size();
  if (options_.ignore_label) columns_.label = Columns::kNone;
}

bool ExampleReader::next(Example& example) {
  if (!rows_->next(row_)) return finish(), false;
  ++num_rows_;
  example = {};
  example.line = row_.line;
  example.text = options_.source_lang.empty() ? text_of(columns_.text) : translation(options_.source_lang);
  example.has_pair = has_pairs();
  if (has_pairs()) example.text_pair = text_of(columns_.pair);
  const bool empty = example.text.empty() || (has_pairs() && example.text_pair.empty());
  if (empty && num_empty_++ == 0) first_empty_ = row_.line;
  example.has_target = columns_.target != Columns::kNone;
  if (example.has_target) {
    example.target =
        options_.target_lang.empty() ? text_of(columns_.target) : translation(options_.target_lang);
    if (example.target.empty() && num_empty_targets_++ == 0) first_empty_target_ = row_.line;
  }
  if (options_.tuples) read_tuple(example);
  return true;
}

// Negatives and the score. Throws Error for an empty text: it is like nothing.
void ExampleReader::read_tuple(Example& example) {
  const auto check = [&](const std::string& text, size_t column) {
    if (!text.empty()) return;
    fail_with("write a text, or remove the row", "{}: line {}: column '{}' is empty: a pair needs two texts",
              path_, row_.line, shown(rows_->columns()[column]));
  };
  check(example.text, columns_.text);
  check(example.text_pair, columns_.pair);
  for (const size_t column : columns_.negatives) {
    const Cell::Kind kind = cell_at(row_, column).kind;
    if (kind == Cell::Kind::missing || kind == Cell::Kind::null)
      fail_with(fmt::format("give every row {} negatives, or remove the row", columns_.negatives.size()),
                "{}: line {}: column '{}' is missing: all rows need the same number of negatives", path_,
                row_.line, shown(rows_->columns()[column]));
    example.negatives.push_back(text_of(column));
    check(example.negatives.back(), column);
  }
  if (columns_.label == Columns::kNone) return;
  const Cell& cell = label();
  const std::optional<double> score = number_in(cell.text);
  const bool is_number = cell.kind == Cell::Kind::integer || cell.kind == Cell::Kind::real || untyped();
  if (!is_number || !score)
    fail_with("write a number, or name another column with --label_column",
              "{}: line {}: column '{}': the score '{}' is no number", path_, row_.line,
              shown(label_column()), shown(cell.text));
  example.score = *score;
  example.has_score = true;
}

const std::string& ExampleReader::text_of(size_t column) {
  const Cell& cell = cell_at(row_, column);
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
    case Cell::Kind::text:
      return cell.text;
    default:  // as a target a number is as good as a text
      if (column != columns_.target && num_not_text_++ == 0) first_not_text_ = row_.line;
      return cell.text;
  }
  fail_with(
      options_.tuples ? "write a text, or remove the row" : "give the row a text (\"\" is one), or remove it",
      "{}: line {}: column '{}' {}", path_, row_.line, shown(rows_->columns()[column]), what);
}

// Rows of translations: source and target are members of the column "translation".
void ExampleReader::choose_languages() {
  const bool needs_target = !options_.ignore_label;
  if (options_.source_lang.empty() || (needs_target && options_.target_lang.empty()))
    fail_with("give both --source_lang and --target_lang", "{}: one of the two languages is not named",
              path_);
  if (!options_.text_column.empty() || !options_.text_pair_column.empty() ||
      !options_.target_column.empty() || !options_.label_column.empty())
    fail_with("name the languages or the columns", "{}: --source_lang is given together with a column",
              path_);
  const std::vector<std::string>& columns = rows_->columns();
  const auto at = std::find(columns.begin(), columns.end(), "translation");
  if (at == columns.end())
    fail_with("columns of texts are named by --text_column and --target_column",
              "{}: --source_lang reads the column 'translation', which is not there (columns: {})", path_,
              join_names(columns));
  columns_.text = static_cast<size_t>(at - columns.begin());
  if (needs_target) columns_.target = columns_.text;
}

std::string ExampleReader::translation(const std::string& language) {
  const Cell& cell = cell_at(row_, columns_.text);
  std::vector<std::string> languages;
  if (cell.kind == Cell::Kind::object) {
    JsonValues values(cell.text);
    for (std::string_view key, value; values.next(key) && values.next(value);) {
      languages.push_back(to_cell(key).text);
      if (languages.back() != language) continue;
      Cell text = to_cell(value);
      if (text.kind == Cell::Kind::text) return std::move(text.text);
      fail_with("write a text, or remove the row", "{}: line {}: the translation '{}' is no text", path_,
                row_.line, shown(language));
    }
  }
  fail_with(R"(write rows such as {"translation": {"en": "...", "de": "..."}})",
            "{}: line {}: the column 'translation' has no '{}' (it has: {})", path_, row_.line,
            shown(language), languages.empty() ? "no languages" : join_names(languages));
}

const Cell& ExampleReader::label() const { return cell_at(row_, columns_.label); }

std::string ExampleReader::label_column() const {
  return has_label_column() ? rows_->columns()[columns_.label] : "";
}

void ExampleReader::finish() const {
  if (num_rows_ == 0 && path_ != name_of("-")) {
    fail_with(rows_->is_text() ? "write one text a line" : "below the header write one row for each example",
              "{}: {}", path_, rows_->is_text() ? "the file is empty" : "no rows below the header");
  }
  if (num_empty_ > 0) {
    log_warning("{}: {} of {} {} (the first on line {})", path_, num_empty_, num_rows_,
                has_pairs() ? "pairs have an empty text" : "texts are empty", first_empty_);
  }
  if (num_empty_targets_ > 0) {
    log_warning("{}: {} of {} targets are empty (the first on line {}): the model learns to write nothing",
                path_, num_empty_targets_, num_rows_, first_empty_target_);
  }
  if (num_not_text_ > 0) {
    log_warning(
        "{}: {} texts are numbers or booleans (the first on line {}): is '{}' the column of the texts?",
        path_, num_not_text_, first_not_text_, shown(rows_->columns()[columns_.text]));
  }
  check_late_columns();
}

void ExampleReader::check_late_negatives(const std::vector<std::string>& late) const {
  for (const std::string& name : late)
    if (name.starts_with("negative"))
      fail_with("give every row as many negatives", "{}: some rows have '{}', but the first row has not",
                path_, shown(name));
}

// In json a key may come late: a column that the first row lacks must not be overlooked.
void ExampleReader::check_late_columns() const {
  const std::vector<std::string> late(
      rows_->columns().begin() + static_cast<std::ptrdiff_t>(num_first_columns_), rows_->columns().end());
  if (!options_.tuples && !has_pairs() && options_.text_column.empty()) {
    const std::string& text = rows_->columns()[columns_.text];
    if (const std::string pair = usual_pair_column(text, late); !pair.empty() && pair != label_column()) {
      fail_with("give every row its pair, or name the column of single texts with --text_column",
                "{}: some rows have '{}' beside '{}', but the first row has not", path_, pair, text);
    }
  }
  if (options_.tuples) return check_late_negatives(late);
  if (has_label_column() || options_.ignore_label || options_.text_to_text) return;
  const std::string label = usual_label_column(late);
  if (label.empty()) return;
  fail_with("give every row its label (null where it has none)",
            "{}: some rows have '{}', but the first row has not", path_, label);
}

}  // namespace graft::data
