#include "data/label_tally.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"

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

// How pandas' read_csv spells a value that is not there (its default na_values), and infinities.
bool is_missing_value(std::string_view s) {
  constexpr std::string_view kSpellings[] = {
      "#N/A", "#N/A N/A", "#NA",  "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>",
      "N/A",  "NA",       "NULL", "NaN",     "None",     "n/a",  "nan",  "null",   "inf",     "-inf"};
  s = trim(s);
  return std::find(std::begin(kSpellings), std::end(kSpellings), s) != std::end(kSpellings);
}

constexpr size_t kMaxCounted = 1u << 20;  // different labels that are listed; more are no classes

}  // namespace

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
  return line > 0 ? fmt::format("{}: line {}: column '{}'", path_, line, column_)
                  : fmt::format("{}: column '{}'", path_, column_);
}

LabelTally::Type LabelTally::type_of(const Cell& item, int64_t line) const {
  switch (item.kind) {
    case Cell::Kind::integer:
      return integer;
    case Cell::Kind::real:
      return real;
    case Cell::Kind::boolean:
      return boolean;
    case Cell::Kind::text:
      if (!untyped_) return text;
      if (parse_integer(item.text)) return integer;
      if (parse_number(item.text)) return real;
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
  const bool is_list = cell.kind == Cell::Kind::list;
  if (!is_list && cell.kind != Cell::Kind::object && trim(cell.text).empty()) return false;
  Seen& form = is_list ? lists_ : scalars_;
  if (form.count++ == 0) form.line = line, form.value = is_list ? "a list" : cell.text;
  if (!is_list) {
    note(type_of(cell, line), cell.text, line);
    example.labels.push_back(cell.text);
    return true;
  }
  for (const Cell& item : cell.items) {
    const Type type = type_of(item, line);
    if (type == real) {
      fail_with("write the names or ids of the labels that apply, or one number (not a list) for regression",
                "{}: the list holds {}: numbers with a point are no labels", place(line), item.text);
    }
    if (std::find(example.labels.begin(), example.labels.end(), item.text) != example.labels.end()) {
      fail_with("list each label that applies once; a vector of zeros and ones is not read, write the ids",
                "{}: the list holds '{}' twice", place(line), item.text);
    }
    note(type, item.text, line);
    example.labels.push_back(item.text);
  }
  example.no_label_applies = cell.items.empty();
  return true;
}

void LabelTally::add_strings(const Example& example, bool as_list) {
  if (!example.has_label()) return;
  Cell cell;
  cell.kind = Cell::Kind::text;
  if (!as_list) {
    cell.text = example.labels[0];
  } else {
    cell.kind = Cell::Kind::list;
    for (const std::string& label : example.labels) cell.items.push_back({Cell::Kind::text, label, {}});
  }
  Example ignored;
  add(cell, example.line, ignored);
}

void LabelTally::fail_mixed(const Seen& a, const Seen& b) const {
  const Seen& first = a.line <= b.line ? a : b;
  const Seen& second = a.line <= b.line ? b : a;
  fail_with("all labels of a file must be of one kind: names, integers, numbers or lists",
            "{}: '{}' is not of the kind of '{}' on line {}", place(second.line), second.value, first.value,
            first.line);
}

LabelKind LabelTally::scalar_kind() const {
  const auto has = [&](Type t) { return seen_[t].count > 0; };
  const bool numbers = has(integer) || has(real);
  const Seen& number = has(real) ? seen_[real] : seen_[integer];
  if (has(missing_value) && numbers && !has(text)) {
    fail_with("write the label, or remove the row", "{}: the label is missing ('{}' among numbers)",
              place(seen_[missing_value].line), seen_[missing_value].value);
  }
  const bool names = has(text) || has(missing_value);
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
  if (kind_ == LabelKind::floats) counts_.clear();
  if (item_kind_ != LabelKind::integers) return;
  std::vector<LabelCount> merged;  // "1" and "01" are one integer
  std::unordered_map<std::string, size_t> at;
  for (LabelCount& c : counts_) {
    c.label = canonical(c.label);
    const auto [where, is_new] = at.emplace(c.label, merged.size());
    if (is_new) {
      merged.push_back(c);
    } else {
      merged[where->second].count += c.count;
    }
  }
  counts_ = std::move(merged);
}

std::vector<LabelCount> LabelTally::counts() const { return counts_; }

std::string LabelTally::canonical(const std::string& label) const {
  if (item_kind_ != LabelKind::integers) return label;
  const auto value = parse_integer(label);
  return value ? std::to_string(*value) : label;
}

}  // namespace graft::data
