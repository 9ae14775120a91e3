#include "data/question_reader.h"

#include <cmath>

#include "base/error.h"
#include "base/json.h"
#include "base/shown.h"

namespace graft::data {
namespace {

constexpr const char* kRow =
    R"(write rows such as {"id": "1", "question": "...", "context": "...", "answers": {"text": ["..."], "answer_start": [0]}})";

// The value of a json cell, or of a text that holds json (csv).
Json json_of(const Cell& cell, const std::string& place, const std::string& column) {
  try {
    return Json::parse(cell.text);
  } catch (const JsonParseError&) {
    fail_with(R"(write json in this column, such as {"text": ["..."], "answer_start": [0]} (json.dumps))",
              "{}: the column '{}' is not json: '{}'", place, shown(column), shown(cell.text));
  }
}

std::string question_of(const Example& e) { return e.id.empty() ? "" : fmt::format(" (id {})", shown(e.id)); }

void add_answer(Example& e, const Json& text, const Json& start, const std::string& place) {
  constexpr double kFar = 1e15;
  if (!text.is_string() || !start.is_number_integer() || std::fabs(start.get<double>()) > kFar)
    fail_with(kRow, "{}{}: an answer is text {} at answer_start {}", place, question_of(e),
              shown(text.dump()), shown(start.dump()));
  e.answers.push_back({text.get<std::string>(), start.get<int64_t>()});
}

// {"text": [...], "answer_start": [...]} of `datasets`, or [{"text": ..., "answer_start": ...}, ...] of
// SQuAD.
void read_answers(Example& e, const Json& answers, const std::string& place) {
  if (answers.is_object() && answers.contains("text") && answers.contains("answer_start")) {
    const Json &texts = answers["text"], &starts = answers["answer_start"];
    if (!texts.is_array()) return add_answer(e, texts, starts, place);
    if (!starts.is_array() || texts.size() != starts.size())
      fail_with("write an answer_start for each text", "{}{}: {} texts of answers, {} of \"answer_start\"",
                place, question_of(e), texts.size(), starts.size());
    for (size_t i = 0; i < texts.size(); ++i) add_answer(e, texts[i], starts[i], place);
    return;
  }
  if (!answers.is_array())
    fail_with(kRow, "{}{}: the answers are {}, without text and answer_start", place, question_of(e),
              answers.type_name());
  for (const Json& answer : answers) {
    if (!answer.is_object() || !answer.contains("text") || !answer.contains("answer_start"))
      fail_with(kRow, "{}{}: an answer has no text or no answer_start: {}", place, question_of(e),
                shown(answer.dump()));
    add_answer(e, answer["text"], answer["answer_start"], place);
  }
}

const Json& member(const Json& object, const char* key, Json::Kind kind, const std::string& place) {
  const auto it = object.find(key);
  if (it != object.end() && it->kind() == kind) return *it;
  fail_with(
      R"(nested rows are {"paragraphs": [{"context": "...", "qas": [{"id": "...", "question": "...", "answers": []}]}]})",
      "{}: \"{}\" is {}", place, key, it == object.end() ? "missing" : it->type_name());
}

bool is_true(const std::string& text) { return text == "true" || text == "True"; }  // json, pandas

bool is_impossible(const Json& qa, const std::string& place) {
  const auto it = qa.find("is_impossible");
  if (it == qa.end() || it->is_boolean()) return it != qa.end() && it->get<bool>();
  fail_with("write true or false", "{}: \"is_impossible\" is {}", place, shown(it->dump()));
}

}  // namespace

QuestionReader::QuestionReader(const std::filesystem::path& path, const DatasetOptions& options)
    : rows_(path),
      question_(options.text_column.empty() ? "question" : options.text_column),
      context_(options.text_pair_column.empty() ? "context" : options.text_pair_column),
      answers_(options.label_column.empty() ? "answers" : options.label_column),
      wants_answers_(!options.ignore_label),
      needs_answers_(options.require_label) {
  nested_ = rows_.has("paragraphs");
  if (nested_) return;
  for (const std::string& column : {question_, context_})
    if (!rows_.has(column))
      rows_.fail_without(fmt::format("column '{}'", shown(column)),
                         "columns are named by --text_column (the question) and --text_pair_column (the "
                         "context)");
  if (needs_answers_ && !rows_.has(answers_))
    rows_.fail_without(fmt::format("column '{}'", shown(answers_)), kRow);
}

bool QuestionReader::next(Example& example) {
  while (at_ == article_.size()) {
    if (!rows_.next()) {
      if (!any_) fail_with(kRow, "{}: no question in the file", rows_.file());
      return false;
    }
    article_.clear();
    at_ = 0;
    if (nested_) {
      read_article();
    } else {
      read_row(article_.emplace_back());
    }
  }
  any_ = true;
  example = std::move(article_[at_++]);
  return true;
}

void QuestionReader::read_row(Example& e) {
  e.line = rows_.line();
  e.text = rows_.text(question_);
  e.text_pair = rows_.text(context_);
  e.has_pair = true;
  if (rows_.has("id")) e.id = rows_.text("id");
  if (!wants_answers_ || (rows_.has("is_impossible") && is_true(rows_.text("is_impossible")))) return;
  const Cell& answers = rows_.cell(answers_);
  if (answers.kind > Cell::Kind::null)
    read_answers(e, json_of(answers, rows_.place(), answers_), rows_.place());
  else if (needs_answers_)
    fail_with("write an empty list for a question without an answer", "{}{}: the answers are missing",
              rows_.place(), question_of(e));
}

void QuestionReader::read_article() {
  const std::string place = rows_.place();
  const Json paragraphs = json_of(rows_.cell("paragraphs"), place, "paragraphs");
  if (!paragraphs.is_array()) fail("{}: \"paragraphs\" is {}", place, paragraphs.type_name());
  for (const Json& paragraph : paragraphs) {
    const std::string context = member(paragraph, "context", Json::Kind::string, place).get<std::string>();
    for (const Json& qa : member(paragraph, "qas", Json::Kind::array, place)) {
      Example& e = article_.emplace_back();
      e.line = rows_.line();
      e.text_pair = context;
      e.has_pair = true;
      e.text = member(qa, "question", Json::Kind::string, place).get<std::string>();
      if (const auto id = qa.find("id"); id != qa.end())
        e.id = id->is_string() ? id->get<std::string>() : id->dump();
      if (!wants_answers_ || is_impossible(qa, place)) continue;
      if (qa.contains("answers"))
        read_answers(e, qa["answers"], place);
      else if (needs_answers_)
        fail_with("write an empty list for a question without an answer", "{}{}: the answers are missing",
                  place, question_of(e));
    }
  }
}

}  // namespace graft::data
