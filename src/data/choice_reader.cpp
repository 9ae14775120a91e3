#include "data/choice_reader.h"

#include <charconv>

#include "base/error.h"
#include "base/json.h"
#include "base/shown.h"
#include "data/json_values.h"

namespace graft::data {
namespace {

constexpr const char* kChoiceRow =
    R"(write rows such as {"context": "...", "question": "...", "choices": ["...", "..."], "label": 0})";
constexpr size_t kMaxChoices = 1 << 16;

}  // namespace

ChoiceReader::ChoiceReader(const std::filesystem::path& path, const DatasetOptions& options)
    : rows_(path),
      label_(options.label_column.empty() ? "label" : options.label_column),
      wants_label_(!options.ignore_label),
      needs_label_(options.require_label) {
  swag_ = rows_.has("ending0");
  if (!swag_ && !rows_.has("choices"))
    rows_.fail_without("column 'choices' or 'ending0'", fmt::format("{}, or SWAG's columns", kChoiceRow));
}

bool ChoiceReader::next(Example& e) {
  if (!rows_.next()) {
    if (!any_) fail_with(kChoiceRow, "{}: no row of choices", rows_.file());
    return false;
  }
  any_ = true;
  e = {};
  e.line = rows_.line();
  e.has_pair = true;
  swag_ ? read_endings(e) : read_choices(e);
  if (e.choices.size() < 2)
    fail_with("a row needs two choices or more; remove it", "{}: {}", rows_.place(),
              e.choices.empty() ? "no choices" : "only one choice");
  if (wants_label_) read_label(e);
  return true;
}

void ChoiceReader::read_choices(Example& e) const {
  const bool context = rows_.has("context"), question = rows_.has("question");
  if (!context && !question)
    fail_with(kChoiceRow, "{}: the row has neither context nor question", rows_.place());
  e.text = rows_.text(context ? "context" : "question");
  if (context && question) e.text_pair = rows_.text("question");
  Cell list = rows_.cell("choices");
  if (list.kind == Cell::Kind::text && list.text.starts_with('[')) {  // json in a csv
    try {
      list.text = Json::parse(list.text).dump();
      list.kind = Cell::Kind::list;
    } catch (const JsonParseError&) {
    }
  }
  if (list.kind != Cell::Kind::list)
    fail_with(kChoiceRow, "{}: the choices are no list: '{}'", rows_.place(), shown(list.text));
  for (Cell& item : list_items(list, kMaxChoices)) {
    if (item.kind <= Cell::Kind::null || item.kind >= Cell::Kind::list)
      fail_with(kChoiceRow, "{}: choice {} is no text", rows_.place(), e.choices.size());
    e.choices.push_back(std::move(item.text));
  }
}

// A row may have fewer endings than another: the last ones are missing or empty.
void ChoiceReader::read_endings(Example& e) const {
  e.text = rows_.text("sent1");
  if (rows_.has("sent2")) e.text_pair = rows_.text("sent2");
  std::string column = "ending0", empty;
  for (size_t i = 0; i < kMaxChoices && rows_.cell(column).kind != Cell::Kind::missing; ++i) {
    const bool is_empty = !rows_.has(column) || rows_.text(column).empty();
    if (!is_empty && !empty.empty())
      fail_with("write the endings of a row from ending0 on", "{}: '{}' is empty and '{}' is not",
                rows_.place(), empty, column);
    if (!is_empty) e.choices.push_back(rows_.text(column));
    if (is_empty && empty.empty()) empty = column;
    column = fmt::format("ending{}", i + 1);
  }
}

void ChoiceReader::read_label(Example& e) const {
  if (!rows_.has(label_)) {
    if (needs_label_)
      fail_with("write the index of the right choice, counted from 0", "{}: the column '{}' is missing",
                rows_.place(), shown(label_));
    return;
  }
  const std::string text = rows_.text(label_);
  size_t index = e.choices.size();
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (error != std::errc() || end != text.data() + text.size() || index >= e.choices.size())
    fail_with("the label is the index of the right choice, counted from 0",
              "{}: the label '{}' is none of the {} choices (0..{})", rows_.place(), shown(text),
              e.choices.size(), e.choices.size() - 1);
  e.labels = {std::to_string(index)};
}

}  // namespace graft::data
