#include "data/tagged_reader.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "base/json_check.h"
#include "base/shown.h"
#include "base/utf8.h"
#include "data/label_tally.h"

namespace graft::data {
namespace {

// In order of preference: run_ner's "tokens" and "ner_tags", then common names.
constexpr std::initializer_list<const char*> kWords = {"tokens", "words"};
constexpr std::initializer_list<const char*> kTexts = {"text", "sentence"};
constexpr std::initializer_list<const char*> kTags = {"ner_tags", "tags",     "labels",
                                                      "label",    "pos_tags", "upos"};
constexpr std::initializer_list<const char*> kSpans = {"entities", "spans", "labels", "label"};
constexpr const char* kSpanForm = R"([{"start": 0, "end": 5, "label": "PER"}] or [[0, 5, "PER"]])";

std::string names_of(std::initializer_list<const char*> names) {
  std::string out;
  for (const char* name : names) out += (out.empty() ? "" : ", ") + std::string(name);
  return out;
}

bool is_one_of(std::string_view key, std::initializer_list<const char*> names) {
  return std::any_of(names.begin(), names.end(), [&](const char* name) { return key == name; });
}

// A list written as text in a csv: json, or words with white space between them.
std::vector<Cell> items_of_text(const std::string& text) {
  if (text.starts_with('[')) {
    try {
      check_json(text);
      return list_items({Cell::Kind::list, text}, text.size());
    } catch (const JsonParseError&) {  // a text that begins with a bracket
    }
  }
  std::vector<Cell> items;
  constexpr const char* kSpace = " \t\r\n";
  for (size_t pos = 0; (pos = text.find_first_not_of(kSpace, pos)) != text.npos;) {
    const size_t end = std::min(text.find_first_of(kSpace, pos), text.size());
    items.push_back({Cell::Kind::text, text.substr(pos, end - pos)});
    pos = end;
  }
  return items;
}

// The characters [begin, end) of a text, in code points.
std::string_view characters(std::string_view text, int64_t begin, int64_t end) {
  size_t from = text.size(), to = text.size();
  int64_t n = 0;
  for (size_t pos = 0; pos < text.size(); ++pos) {
    if ((static_cast<unsigned char>(text[pos]) & 0xC0) == 0x80) continue;
    if (n == begin) from = pos;
    if (n == end) to = pos;
    ++n;
  }
  return text.substr(from, to - from);
}

bool is_white_space(std::string_view text) {
  char32_t c = 0;
  for (size_t pos = 0; pos < text.size();) {
    const int n = utf8::decode(text, pos, c);
    if (n == 0 || !utf8::is_space(c)) return false;
    pos += static_cast<size_t>(n);
  }
  return true;
}

}  // namespace

bool is_conll_file(const std::filesystem::path& path) {
  const std::string extension = extension_of_rows(path);
  return is_one_of(extension, {".conll", ".conllu", ".bio", ".iob", ".iob2"});
}

TaggedReader::TaggedReader(const std::filesystem::path& path, const DatasetOptions& options)
    : path_(name_of(path)), options_(options) {
  if (options_.ignore_label) options_.label_column.clear();
  const std::string extension = extension_of_rows(path);
  const bool texts = options_.ignore_label && (path == "-" || extension == ".txt");
  if (is_conll_file(path) || (!texts && (extension == ".txt" || extension == ".tsv"))) {
    conll_ = std::make_unique<ConllReader>(path, options_);
    return;
  }
  if (path == "-" && !texts)
    fail_with("give a .conll, .csv, .jsonl or .json file", "{}: holds texts, which have no tags", path_);
  rows_ = open_rows(path);
  choose_columns();
}

// The column that the option names, else the first that is there of the usual ones.
size_t TaggedReader::first_of(const std::string& named, const char* option,
                              std::initializer_list<const char*> usual) const {
  const std::vector<std::string>& columns = rows_->columns();
  const auto index = [&](const std::string& name) {
    const auto at = std::find(columns.begin(), columns.end(), name);
    return at == columns.end() ? kNone : static_cast<size_t>(at - columns.begin());
  };
  if (!named.empty()) {
    if (const size_t i = index(named); i != kNone) return i;
    fail_with(fmt::format("choose one of them with --{}", option),
              "{}: there is no column '{}' (columns: {})", path_, shown(named), join_names(columns));
  }
  for (const char* name : usual)
    if (const size_t i = index(name); i != kNone) return i;
  return kNone;
}

void TaggedReader::choose_columns() {
  const std::vector<std::string>& columns = rows_->columns();
  const size_t named = first_of(options_.text_column, "text_column", kWords);
  const size_t text = options_.text_column.empty() ? first_of("", "", kTexts) : named;
  // A named column holds words or texts, whichever its first row has; see next().
  words_ = named;
  if (named == kNone || rows_->is_text()) words_ = kNone, text_ = text;
  if (words_ == kNone && text_ == kNone)
    fail_with("name the column of the words, or of the texts, with --text_column",
              "{}: no column of words or texts (columns: {}; looked for: {}, {})", path_, join_names(columns),
              names_of(kWords), names_of(kTexts));
  if (options_.ignore_label) return;
  tags_ = first_of(options_.label_column, "label_column", words_ == kNone ? kSpans : kTags);
  if (tags_ == kNone && words_ != kNone && !options_.text_column.empty()) tags_ = first_of("", "", kSpans);
  if (tags_ == kNone)
    fail_with(words_ == kNone ? "name the column of the spans with --label_column"
                              : "name the column of the tags with --label_column",
              "{}: no column of {} (columns: {}; looked for: {})", path_, words_ == kNone ? "spans" : "tags",
              join_names(columns), names_of(words_ == kNone ? kSpans : kTags));
}

bool TaggedReader::has_buffered_row() const {
  return conll_ ? conll_->has_buffered_row() : rows_->has_buffered_row();
}

std::string TaggedReader::tag_column() const {
  return conll_ || tags_ == kNone ? "" : rows_->columns()[tags_];
}

const Cell& TaggedReader::cell(size_t column) const {
  static const Cell kMissing;
  return column < row_.cells.size() ? row_.cells[column] : kMissing;
}

void TaggedReader::fail_row(const std::string& hint, const std::string& what) const {
  fail_with(hint, "{}: line {}: {}", path_, row_.line, what);
}

std::vector<Cell> TaggedReader::items(size_t column, const char* what) {
  const Cell& c = cell(column);
  if (c.kind == Cell::Kind::list) return list_items(c, c.text.size());
  if (c.kind == Cell::Kind::text && rows_->untyped()) return items_of_text(c.text);
  fail_row(fmt::format("write a list of {}", what),
           fmt::format("column '{}' is {}, not a list of {}", shown(rows_->columns()[column]),
                       c.kind == Cell::Kind::missing || c.kind == Cell::Kind::null ? "missing"
                       : c.kind == Cell::Kind::text                                ? "a text"
                                                                                   : "no list",
                       what));
}

bool TaggedReader::next(Example& example) {
  if (conll_) {
    if (!conll_->next(example)) return false;
    for (size_t i = 0; i < example.words.size() && !options_.ignore_label; ++i)
      count_tag({Cell::Kind::text, example.words[i].tag}, i);
    return true;
  }
  if (!rows_->next(row_)) return false;
  example = {};
  example.line = row_.line;
  if (words_ != kNone && !options_.text_column.empty() && text_ == kNone && !rows_->untyped() &&
      cell(words_).kind == Cell::Kind::text) {  // the named column holds texts
    text_ = words_;
    words_ = kNone;
  }
  if (words_ != kNone) {
    read_words(example);
  } else {
    const Cell& text = cell(text_);
    if (text.kind != Cell::Kind::text)
      fail_row("give the row a text (\"\" is one), or remove it",
               fmt::format("column '{}' is no text", shown(rows_->columns()[text_])));
    example.text = text.text;
    if (!options_.ignore_label) read_spans(example);
  }
  return true;
}

void TaggedReader::read_words(Example& example) {
  const std::vector<Cell> words = items(words_, "words");
  const std::vector<Cell> tags = options_.ignore_label ? std::vector<Cell>() : items(tags_, "tags");
  if (!options_.ignore_label && words.size() != tags.size())
    fail_row("give each word its tag", fmt::format("{} words but {} tags", words.size(), tags.size()));
  for (size_t i = 0; i < words.size(); ++i) {
    const bool scalar = words[i].kind == Cell::Kind::text || words[i].kind == Cell::Kind::integer ||
                        words[i].kind == Cell::Kind::real;
    if (!scalar) fail_row("write each word as a string", fmt::format("word {} is no text", i + 1));
    TaggedWord word{words[i].text, "", example.line};
    if (!options_.ignore_label) {
      const bool tag = tags[i].kind == Cell::Kind::text || tags[i].kind == Cell::Kind::integer;
      if (!tag || tags[i].text.empty())
        fail_row("write each tag as a name or an id",
                 fmt::format("the tag of word {}, '{}', is {}", i + 1, shown(words[i].text),
                             tags[i].text.empty() ? "missing" : "no name: " + shown(tags[i].text)));
      count_tag(tags[i], i);
      word.tag = tags[i].text;
    }
    example.words.push_back(std::move(word));
  }
}

// A file has names or ids, not both.
void TaggedReader::count_tag(const Cell& tag, size_t index) {
  const bool integer = tag.kind == Cell::Kind::integer ||
                       (tag.kind == Cell::Kind::text && is_integer(tag.text) && (conll_ || rows_->untyped()));
  int64_t& count = integer ? num_integers_ : num_names_;
  int64_t& first = integer ? first_integer_ : first_name_;
  if (count++ == 0) first = conll_ ? -1 : row_.line;
  if (conll_ || num_integers_ == 0 || num_names_ == 0) return;
  fail_row("write names, or ids, for all words",
           fmt::format("the tag of word {} is {} '{}', but those of line {} are {}", index + 1,
                       integer ? "an id" : "a name", shown(tag.text), integer ? first_name_ : first_integer_,
                       integer ? "names" : "ids"));
}

void TaggedReader::read_spans(Example& example) {
  const Cell& c = cell(tags_);
  example.has_spans = true;
  if (c.kind != Cell::Kind::list)
    fail_row(std::string("write ") + kSpanForm + ", and [] where there is none",
             fmt::format("column '{}' is no list of spans", shown(rows_->columns()[tags_])));
  size_t index = 0;
  for (const Cell& item : list_items(c, c.text.size())) example.spans.push_back(read_span(item, ++index));
  check_spans(example);
}

int64_t TaggedReader::read_position(const Cell& value, const char* name, size_t index) const {
  const auto n = value.kind == Cell::Kind::integer ? parse_integer(value.text) : std::nullopt;
  if (n) return *n;
  fail_row(std::string("write ") + kSpanForm,
           fmt::format("span {}: \"{}\" is no integer: {}", index, name, shown(value.text)));
}

TextSpan TaggedReader::read_span(const Cell& item, size_t index) const {
  Cell start, end, label;
  if (item.kind == Cell::Kind::list) {
    const std::vector<Cell> parts = list_items(item, 4);
    if (parts.size() == 3) start = parts[0], end = parts[1], label = parts[2];
  } else if (item.kind == Cell::Kind::object) {
    JsonValues values(item.text);
    for (std::string_view key, value; values.next(key) && values.next(value);) {
      const std::string name = to_cell(key).text;
      if (is_one_of(name, {"start", "begin", "start_offset"})) start = to_cell(value);
      if (is_one_of(name, {"end", "end_offset"})) end = to_cell(value);
      if (is_one_of(name, {"label", "type", "entity_group", "entity"})) label = to_cell(value);
    }
  }
  if (start.kind == Cell::Kind::missing || end.kind == Cell::Kind::missing ||
      label.kind != Cell::Kind::text || label.text.empty())
    fail_row(std::string("write ") + kSpanForm,
             fmt::format("span {} has no start, end and label: {}", index, shown(item.text)));
  return {read_position(start, "start", index), read_position(end, "end", index), label.text};
}

// Sorts the spans.
void TaggedReader::check_spans(Example& example) const {
  const auto length = static_cast<int64_t>(utf8::length(example.text));
  const auto text = [&](const TextSpan& s) {
    return fmt::format("the span [{}, {}) {}", s.begin, s.end, shown(s.label));
  };
  for (const TextSpan& s : example.spans) {
    if (s.begin < 0 || s.end > length)
      fail_row("offsets count characters (code points), not bytes, and the end is exclusive",
               fmt::format("{} reaches beyond the text of {} characters", text(s), length));
    if (s.begin >= s.end)
      fail_row("the end is exclusive: one character is [0, 1); correct or remove the span",
               fmt::format("{} is empty", text(s)));
    if (is_white_space(characters(example.text, s.begin, s.end)))
      fail_row("correct or remove the span", fmt::format("{} holds white space only", text(s)));
  }
  std::stable_sort(example.spans.begin(), example.spans.end(),
                   [](const TextSpan& a, const TextSpan& b) { return a.begin < b.begin; });
  for (size_t i = 1; i < example.spans.size(); ++i) {
    const TextSpan &a = example.spans[i - 1], &b = example.spans[i];
    if (b.begin < a.end)
      fail_row("a token has one label: keep one of the two",
               fmt::format("{} ('{}') and {} ('{}') overlap", text(a),
                           shown(characters(example.text, a.begin, a.end)), text(b),
                           shown(characters(example.text, b.begin, b.end))));
  }
}

}  // namespace graft::data
