#include "data/conll.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/log.h"
#include "base/shown.h"
#include "data/label_tally.h"
#include "data/rows.h"

namespace graft::data {
namespace {

constexpr size_t kConlluColumns = 10;
constexpr size_t kMaxComments = 10000;   // in front of the first word
constexpr size_t kLongSentence = 10000;  // words; a file without empty lines
constexpr std::string_view kBlanks = " \t\r";

bool is_empty_line(std::string_view line) { return line.find_first_not_of(kBlanks) == line.npos; }

std::string lower_case(std::string s) {
  for (char& c : s) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return s;
}

// "3", "3-4" (a range) or "3.1" (an empty node), the first column of CoNLL-U.
bool is_conllu_id(std::string_view text) {
  return !text.empty() && std::isdigit(static_cast<unsigned char>(text[0])) &&
         text.find_first_not_of("0123456789-.") == text.npos;
}

}  // namespace

ConllReader::ConllReader(const std::filesystem::path& path, const DatasetOptions& options)
    : lines_(path), path_(name_of(path)), options_(options) {
  find_layout();
}

bool ConllReader::read_line(Line& line) {
  if (!pending_.empty()) {
    line = std::move(pending_.front());
    pending_.pop_front();
    return true;
  }
  if (!lines_.next(line.text)) return false;
  line.number = lines_.line_number();
  return true;
}

// From the first line that is not empty and no comment; from a line with # where the file has no other.
void ConllReader::find_layout() {
  Line line;
  const Line* first = nullptr;
  while (!first && pending_.size() < kMaxComments && lines_.next(line.text)) {
    line.number = lines_.line_number();
    pending_.push_back(line);
    if (!is_empty_line(line.text) && line.text[0] != '#' && !line.text.starts_with("-DOCSTART-"))
      first = &pending_.back();
  }
  for (const Line& held : pending_)
    if (!first && held.text.starts_with("#")) first = &held;
  if (!first)
    fail_with("write a word and its tag on each line, and an empty line behind each sentence", "{}: no words",
              path_);
  choose_columns(*first);
}

void ConllReader::choose_columns(const Line& line) {
  tabs_ = line.text.find('\t') != std::string::npos;
  const std::vector<std::string_view> cells = split(line.text);
  num_columns_ = cells.size();
  first_line_ = line.number;
  conllu_ = tabs_ && num_columns_ == kConlluColumns && is_conllu_id(cells[0]);
  if (conllu_) names_ = {"id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc"};
  word_ = column(options_.text_column, conllu_ ? 1 : 0, "text_column");
  if (options_.ignore_label) return;
  if (num_columns_ == 1)
    fail_with("write the word and its tag on each line, separated by a tab or a space",
              "{}: line {}: one column, '{}': there is no tag", path_, line.number, shown(line.text));
  tag_ = column(options_.label_column, conllu_ ? 3 : num_columns_ - 1, "label_column");
  if (tag_ == word_)
    fail_with("name another --label_column", "{}: words and tags are the same column ({} of {})", path_,
              tag_ + 1, num_columns_);
}

size_t ConllReader::column(const std::string& name, size_t fallback, const char* option) const {
  if (name.empty()) return fallback;
  const auto number = parse_integer(name);
  if (number && *number >= 1 && *number <= static_cast<int64_t>(num_columns_))
    return static_cast<size_t>(*number) - 1;
  const auto at = std::find(names_.begin(), names_.end(), lower_case(name));
  if (at != names_.end()) return static_cast<size_t>(at - names_.begin());
  fail_with(fmt::format("columns are numbered from 1: --{} {}{}", option, fallback + 1,
                        names_.empty() ? "" : "; CoNLL-U names them, too: " + join_names(names_)),
            "{}: there is no column '{}': line {} has {} columns", path_, shown(name), first_line_,
            num_columns_);
}

std::vector<std::string_view> ConllReader::split(std::string_view line) const {
  std::vector<std::string_view> cells;
  if (tabs_) {
    for (size_t begin = 0; begin <= line.size();) {
      const size_t end = std::min(line.find('\t', begin), line.size());
      cells.push_back(line.substr(begin, end - begin));
      begin = end + 1;
    }
    return cells;
  }
  for (size_t pos = 0; (pos = line.find_first_not_of(kBlanks, pos)) != line.npos;) {
    const size_t end = std::min(line.find_first_of(kBlanks, pos), line.size());
    cells.push_back(line.substr(pos, end - pos));
    pos = end;
  }
  return cells;
}

// Of CoNLL-U and its kin, in front of a sentence; a word "#" has the columns of a word.
bool ConllReader::is_comment(const Line& line, bool in_sentence) const {
  return line.text[0] == '#' && !in_sentence && (conllu_ || split(line.text).size() != num_columns_);
}

bool ConllReader::next(Example& example) {
  example = {};
  Line line;
  while (read_line(line)) {
    const bool in_sentence = !example.words.empty();
    if (is_empty_line(line.text) || line.text.starts_with("-DOCSTART-")) {
      if (in_sentence) break;
      continue;
    }
    if (is_comment(line, in_sentence)) continue;
    add_word(line, example);
  }
  if (example.words.empty()) return false;
  example.line = example.words.front().line;
  if (example.words.size() > kLongSentence)
    log_warning("{}: line {}: a sentence of {} words; sentences are separated by empty lines", path_,
                example.line, example.words.size());
  return true;
}

void ConllReader::add_word(const Line& line, Example& example) const {
  const std::vector<std::string_view> cells = split(line.text);
  if (cells.size() != num_columns_) {
    fail_with(fmt::format("write the same columns on every line, separated by {}, and an empty line behind "
                          "each sentence",
                          tabs_ ? "tabs" : "spaces"),
              "{}: line {}: {} column{}, but line {} has {}: '{}'", path_, line.number, cells.size(),
              cells.size() == 1 ? "" : "s", first_line_, num_columns_, shown(line.text));
  }
  if (conllu_ && cells[0].find_first_of("-.") != cells[0].npos) return;
  TaggedWord word;
  word.text = cells[word_];
  word.line = line.number;
  if (!options_.ignore_label) word.tag = cells[tag_];
  if (is_empty_line(word.text) || (!options_.ignore_label && is_empty_line(word.tag)))
    fail_with("write both on the line, or remove it", "{}: line {}: the {} is empty", path_, line.number,
              is_empty_line(word.text) ? "word" : "tag");
  example.words.push_back(std::move(word));
}

}  // namespace graft::data
