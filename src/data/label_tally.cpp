#include "data/label_tally.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <unordered_set>

#include "base/error.h"
#include "base/log.h"
#include "base/shown.h"
#include "data/json_values.h"
#include "data/label_lists.h"
#include "data/similar_names.h"

namespace graft::data {
namespace {

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t' || s.front() == '\r')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t' || s.back() == '\r')) s.remove_suffix(1);
  return s;
}

// Without the sign that from_chars does not take.
std::string_view number_text(std::string_view s) {
  s = trim(s);
  if (s.size() > 1 && s[0] == '+' && s[1] != '-') s.remove_prefix(1);
  return s;
}

// How pandas' read_csv spells a value that is not there (its default na_values).
bool is_missing_value(std::string_view s) {
  constexpr std::string_view kSpellings[] = {"#N/A", "#N/A N/A", "#NA",  "<NA>", "N/A",
                                             "NA",   "NULL",     "None", "n/a",  "null"};
  s = trim(s);
  return std::find(std::begin(kSpellings), std::end(kSpellings), s) != std::end(kSpellings);
}

// NaN and infinities, as C, Python and Microsoft's runtime write them.
bool is_not_finite(std::string_view text) {
  std::string s(number_text(text));
  for (char& c : s) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  std::string_view v = s;
  if (v.starts_with('-')) v.remove_prefix(1);
  return v == "nan" || v == "inf" || v == "infinity" || v == "1.#ind" || v == "1.#qnan" || v == "1.#inf";
}

// A number, though one that no double holds.
bool is_out_of_range(std::string_view text) {
  const std::string_view s = number_text(text);
  double value = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), value);
  return error == std::errc::result_out_of_range && end == s.data() + s.size();
}

constexpr size_t kMaxCounted = 1u << 20;  // different labels that are listed; more are no classes
constexpr size_t kMaxListed = 1u << 16;   // labels of one row
constexpr size_t kMaxLabelBytes = 4096;   // of a name or number

}  // namespace

bool is_integer(std::string_view text) {
  std::string_view s = number_text(text);
  if (s.starts_with('-')) s.remove_prefix(1);
  return !s.empty() && s.find_first_not_of("0123456789") == s.npos;
}

std::optional<int64_t> parse_integer(std::string_view text) {
  const std::string_view s = number_text(text);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), value);
  if (s.empty() || error != std::errc() || end != s.data() + s.size()) return std::nullopt;
  return value;
}

std::optional<double> parse_number(std::string_view text) {
  const std::string_view s = number_text(text);
  double value = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), value);
  if (s.empty() || error != std::errc() || end != s.data() + s.size() || !std::isfinite(value))
    return std::nullopt;
  return value;
}

std::string LabelTally::place(int64_t line) const {
  return line > 0 ? fmt::format("{}: line {}: column '{}'", path_, line, shown(column_))
                  : fmt::format("{}: column '{}'", path_, shown(column_));
}

LabelTally::Type LabelTally::type_of(const Cell& item, int64_t line) const {
  if (item.text.size() > kMaxLabelBytes && item.kind != Cell::Kind::object && item.kind != Cell::Kind::list) {
    fail_with("name the column of the labels with --label_column",
              "{}: the label '{}' is too long for a name or number", place(line), shown(item.text));
  }
  switch (item.kind) {
    case Cell::Kind::integer:
      return integer;
    case Cell::Kind::real:
      return real;
    case Cell::Kind::boolean:
      return boolean;
    case Cell::Kind::text:
      if (!untyped_) return text;
      if (is_integer(item.text)) return integer;
      if (parse_number(item.text)) return real;
      if (is_out_of_range(item.text)) {
        fail_with("write a number between 1e-300 and 1e300",
                  "{}: the label {} is out of the range of numbers", place(line), shown(item.text));
      }
      if (is_not_finite(item.text)) return not_finite;
      return is_missing_value(item.text) ? missing_value : text;
    default:
      fail_with("a label is a name, a number, or a list of names or ids", "{}: the label is {}", place(line),
                item.kind == Cell::Kind::object ? "an object"
                : item.kind == Cell::Kind::list ? "a list of lists"
                                                : "a list with a null in it");
  }
}

void LabelTally::note(Type type, const std::string& value, int64_t line) {
  Seen& seen = seen_[type];
  if (seen.count++ == 0) seen.line = line, seen.value = value;
  if (type == real) return;  // numbers are not listed
  const auto [at, is_new] = index_.emplace(value, counts_.size());
  if (is_new && counts_.size() < kMaxCounted) counts_.push_back({value, 0, line});
  if (at->second < counts_.size()) {
    ++counts_[at->second].count;
  } else if (is_new) {
    index_.erase(at);
  }
}

bool LabelTally::add(const Cell& cell, int64_t line, Example& example) {
  if (cell.kind == Cell::Kind::missing || cell.kind == Cell::Kind::null) return false;
  if (cell.kind == Cell::Kind::list) {
    add_list(list_items(cell, kMaxListed + 1), line, example);
    return true;
  }
  if (cell.kind != Cell::Kind::object && trim(cell.text).empty()) return false;
  const Type type = type_of(cell, line);
  if (scalars_.count++ == 0) scalars_.line = line, scalars_.value = cell.text;
  note(type, cell.text, line);
  example.labels.push_back(cell.text);
  return true;
}

void LabelTally::add_list(const std::vector<Cell>& items, int64_t line, Example& example) {
  if (lists_.count++ == 0) lists_.line = line, lists_.value = "a list";
  if (items.size() > kMaxListed) fail("{}: a list of over {} labels", place(line), kMaxListed);
  std::unordered_set<std::string_view> seen;
  for (const Cell& item : items) {
    const bool twice = !seen.insert(item.text).second;
    const Type type = type_of(item, line);
    if ((twice || type == real || type == boolean) && items.size() > 1 && is_zeros_and_ones(items))
      fail_vector(items, line, "not a list of labels");
    if (type == real) {
      fail_with("write the names or ids of the labels that apply, or one number (not a list) for regression",
                "{}: the list holds {}: numbers with a point are no labels", place(line), shown(item.text));
    }
    if (twice) {
      fail_with("list each label that applies once", "{}: the list holds '{}' twice", place(line),
                shown(item.text));
    }
    if (trim(item.text).empty()) {
      fail_with("write the name, or leave it out", "{}: the list holds an empty label", place(line));
    }
    note(type, item.text, line);
    example.labels.push_back(item.text);
  }
  example.no_label_applies = items.empty();
  // Without a label twice a vector has two items, and as ids each row has both labels.
  if (items.size() != 2 || !is_zeros_and_ones(items)) return;
  if (pairs_++ == 0) first_pair_ = items;
}

void LabelTally::fail_vector(const std::vector<Cell>& items, int64_t line, const char* what) const {
  fail_with(fmt::format("list the ids (or names) of the labels that apply: {} instead of {}",
                        ids_of_vector(items), shown_list(items)),
            "{}: the label {} is a vector of zeros and ones, {}", place(line), shown_list(items), what);
}

void LabelTally::add_strings(const Example& example, bool as_list) {
  if (!example.has_label()) return;
  Example ignored;
  if (!as_list) {
    add({Cell::Kind::text, example.labels[0]}, example.line, ignored);
    return;
  }
  std::vector<Cell> items;
  for (const std::string& label : example.labels) items.push_back({Cell::Kind::text, label});
  add_list(items, example.line, ignored);
}

// "the number 1", "the text '1'": the values alone may be equal.
std::string LabelTally::in_words(const Seen& seen) const {
  if (&seen == &lists_) return "a list";
  const char* kind = untyped_ || &seen == &scalars_ ? "the label"
                     : &seen == &seen_[boolean]     ? "the boolean"
                     : &seen == &seen_[text]        ? "the text"
                                                    : "the number";
  return fmt::format("{} '{}'", kind, shown(seen.value));
}

void LabelTally::fail_mixed(const Seen& a, const Seen& b) const {
  const Seen& first = a.line <= b.line ? a : b;
  const Seen& second = a.line <= b.line ? b : a;
  fail_with("all labels of a file must be of one kind: names, integers, numbers or lists",
            "{}: {} is not of the kind of {} on line {}", place(second.line), in_words(second),
            in_words(first), first.line);
}

LabelKind LabelTally::scalar_kind() const {
  const auto has = [&](Type t) { return seen_[t].count > 0; };
  const bool numbers = has(integer) || has(real);
  const Seen& number = has(real) ? seen_[real] : seen_[integer];
  if (has(missing_value) && numbers && !has(text)) {
    fail_with("write the label, or remove the row", "{}: the label is missing ('{}' among numbers)",
              place(seen_[missing_value].line), shown(seen_[missing_value].value));
  }
  if (has(not_finite) && !has(text)) {
    fail_with("write a number, or remove the row", "{}: the label '{}' is not a finite number",
              place(seen_[not_finite].line), shown(seen_[not_finite].value));
  }
  const bool names = has(text) || has(missing_value);  // "nan" among names is one
  if (has(boolean) && (numbers || names)) fail_mixed(seen_[boolean], numbers ? number : seen_[text]);
  // In a csv, integers among names are names, as in a pandas column; a json says what it means.
  if (names && (has(real) || (numbers && !untyped_)))
    fail_mixed(number, has(text) ? seen_[text] : seen_[missing_value]);
  if (names || has(boolean)) return LabelKind::strings;
  if (has(real)) return LabelKind::floats;
  return has(integer) ? LabelKind::integers : LabelKind::none;
}

void LabelTally::finish() {
  if (lists_.count > 0 && scalars_.count > 0) fail_mixed(lists_, scalars_);
  item_kind_ = scalar_kind();
  kind_ = lists_.count > 0 ? LabelKind::lists : item_kind_;
  if (pairs_ > 0 && pairs_ == lists_.count)
    fail_vector(first_pair_, lists_.line, "as all others are; as ids they would give every row both labels");
  if (kind_ == LabelKind::floats) counts_.clear();
  if (item_kind_ == LabelKind::strings) check_names();
  if (kind_ != LabelKind::lists && counts_.size() == 1 && counts_[0].count > 1) {
    log_warning("{}: all {} rows have the same label '{}'", place(0), counts_[0].count,
                shown(counts_[0].label));
  }
  warn_of_many();
  if (item_kind_ != LabelKind::integers) return;
  std::vector<LabelCount> merged;  // "1" and "01" are one integer
  std::unordered_map<std::string, size_t> at;
  std::string spelling;  // the first that is not the only one of its integer
  int64_t spelling_line = 0;
  for (LabelCount& c : counts_) {
    const std::string written = c.label;
    c.label = canonical(c.label);
    const auto [where, is_new] = at.emplace(c.label, merged.size());
    if (is_new) {
      merged.push_back(c);
    } else {
      merged[where->second].count += c.count;
      if (spelling.empty()) spelling = written, spelling_line = c.line;
    }
  }
  counts_ = std::move(merged);
  if (!spelling.empty()) {
    log_warning("{}: '{}' is read as the integer {}, which is written in another way elsewhere: one label",
                place(spelling_line), shown(spelling), canonical(spelling));
  }
}

// A class that occurs once or twice cannot be learned: such a column is more often a text, a number or an id.
void LabelTally::warn_of_many() const {
  constexpr size_t kFew = 20;
  const int64_t labels = static_cast<int64_t>(counts_.size());
  if (kind_ == LabelKind::lists || counts_.size() < kFew || labels * 2 < scalars_.count) return;
  log_warning("{}: {} different labels in {} rows: is this the column of the labels?", place(0), labels,
              scalars_.count);
}

// Names that are missing values, lists of labels or similar to one another.
void LabelTally::check_names() const {
  const Seen& absent = seen_[missing_value].count > 0 ? seen_[missing_value] : seen_[not_finite];
  if (absent.count > 0 && seen_[text].count > 0) {
    log_warning(
        "{}: '{}' is read as the name of a label, in {} rows; where the label is missing leave the cell "
        "empty",
        place(absent.line), shown(absent.value), absent.count);
  }
  const LabelCount* several = nullptr;
  bool all_numbers = kind_ != LabelKind::lists;
  for (const LabelCount& c : counts_) {
    const NumberList reads_as = all_numbers ? number_list(c.label) : NumberList::no;
    all_numbers = reads_as != NumberList::no;
    if (!all_numbers) break;
    if (reads_as != NumberList::one && !several) several = &c;
  }
  if (all_numbers && several) {
    fail_with(
        "write one number or name a row (a number with a point, without spaces); several labels a row need a "
        ".jsonl with lists, for example {\"text\": \"...\", \"label\": [0, 2]}",
        "{}: the label '{}' reads as a list of labels, written as text", place(several->line),
        shown(several->label));
  }
  warn_of_joined_names();
  warn_of_similar_names(counts_, place(0));
}

// "comedy|drama" where "comedy" and "drama" are labels too: several labels a row, read as one more class.
void LabelTally::warn_of_joined_names() const {
  if (kind_ == LabelKind::lists) return;
  for (const LabelCount& c : counts_) {
    for (const char separator : {',', ';', '|', '/', '+'}) {
      if (c.label.find(separator) == std::string::npos) continue;
      bool all_are_labels = true;
      for (size_t begin = 0; begin <= c.label.size();) {
        const size_t end = std::min(c.label.find(separator, begin), c.label.size());
        const std::string_view part = trim(std::string_view(c.label).substr(begin, end - begin));
        all_are_labels = all_are_labels && index_.contains(std::string(part));
        begin = end + 1;
      }
      if (!all_are_labels) continue;
      log_warning(
          "{}: '{}' is read as one more label, but its parts are labels too; several labels a row need a "
          ".jsonl with "
          "lists, for example {{\"text\": \"...\", \"label\": [\"a\", \"b\"]}}",
          place(c.line), shown(c.label));
      return;
    }
  }
}

std::vector<LabelCount> LabelTally::counts() const { return counts_; }

std::string LabelTally::canonical(const std::string& label) const {
  if (item_kind_ != LabelKind::integers) return label;
  const auto value = parse_integer(label);
  return value ? std::to_string(*value) : label;
}

}  // namespace graft::data
