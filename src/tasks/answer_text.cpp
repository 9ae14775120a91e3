#include "tasks/answer_text.h"

#include <algorithm>
#include <iterator>

#include "base/utf8.h"
#include "text/unicode.h"

namespace graft::tasks {
namespace {

using AnswerWords = std::vector<std::string>;

// The articles that each language's rule removes; ar removes two letters wherever they are, hi and zh none.
struct LanguageRule {
  const char* name;
  std::vector<const char*> articles;
};

const std::vector<LanguageRule>& language_rules() {
  static const std::vector<LanguageRule> rules = {
      {"en", {"a", "an", "the"}},
      {"de", {"ein", "eine", "einen", "einem", "eines", "einer", "der", "die", "das", "den", "dem", "des"}},
      {"es", {"un", "una", "unos", "unas", "el", "la", "los", "las"}},
      {"ar", {}},
      {"hi", {}},
      {"vi", {"của", "là", "cái", "chiếc", "những"}},
      {"zh", {}},
      {"other", {}}};
  return rules;
}

bool is_ascii_punctuation(char32_t c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

// \w of Python's re without "_", which is punctuation.
bool is_word_character(char32_t c) { return text::char_flags(c) & (text::kLetter | text::kNumber); }

std::vector<char32_t> lower_without_punctuation(std::string_view text, bool english) {
  std::vector<char32_t> out;
  for (size_t at = 0; at < text.size();) {
    char32_t c = 0;
    at += static_cast<size_t>(std::max(utf8::decode(text, at, c), 1));
    char32_t lower[2];
    const int n = text::to_lower(c, lower);
    for (int i = 0; i < n; ++i)
      if (english ? !is_ascii_punctuation(lower[i]) : !text::is_punctuation(lower[i]))
        out.push_back(lower[i]);
  }
  return out;
}

// Replaces each article by a space: \b(a|an|the)\b.
std::vector<char32_t> without_articles(const std::vector<char32_t>& text, const LanguageRule& rule) {
  std::vector<char32_t> out;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    std::string word;
    while (end < text.size() && is_word_character(text[end])) utf8::append(word, text[end++]);
    if (end == at) {
      out.push_back(text[at++]);
      continue;
    }
    if (std::any_of(rule.articles.begin(), rule.articles.end(), [&](const char* a) { return word == a; }))
      out.push_back(' ');
    else
      out.insert(out.end(), text.begin() + static_cast<std::ptrdiff_t>(at),
                 text.begin() + static_cast<std::ptrdiff_t>(end));
    at = end;
  }
  return out;
}

// Arabic's article is a prefix; MLQA's rule puts a space for it wherever the letters are.
std::vector<char32_t> without_arabic_article(const std::vector<char32_t>& text) {
  std::vector<char32_t> out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool article = text[i] == 0x627 && i + 1 < text.size() && text[i + 1] == 0x644;
    out.push_back(article ? U' ' : text[i]);
    i += article;
  }
  return out;
}

double f1_of(AnswerWords predicted, AnswerWords right, bool version_2) {
  if (version_2 && (predicted.empty() || right.empty())) return predicted == right;
  std::sort(predicted.begin(), predicted.end());
  std::sort(right.begin(), right.end());
  AnswerWords common;
  std::set_intersection(predicted.begin(), predicted.end(), right.begin(), right.end(),
                        std::back_inserter(common));
  if (common.empty()) return 0;
  const double n = static_cast<double>(common.size()), precision = n / static_cast<double>(predicted.size()),
               recall = n / static_cast<double>(right.size());
  return 2 * precision * recall / (precision + recall);
}

}  // namespace

const std::vector<std::string>& answer_languages() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const LanguageRule& rule : language_rules()) all.emplace_back(rule.name);
    return all;
  }();
  return names;
}

std::vector<std::string> answer_words(std::string_view text, const std::string& language) {
  const LanguageRule& rule = *std::find_if(language_rules().begin(), language_rules().end() - 1,
                                           [&](const LanguageRule& r) { return language == r.name; });
  std::vector<char32_t> rest = lower_without_punctuation(text, language == "en");
  if (language == "ar") rest = without_arabic_article(rest);
  if (!rule.articles.empty()) rest = without_articles(rest, rule);
  AnswerWords words;
  bool inside = false;
  for (const char32_t c : rest) {
    const bool character = language == "zh" && c >= 0x4E00 && c <= 0x9FA5;
    if (!utf8::is_space(c)) {
      if (!inside || character) words.emplace_back();
      utf8::append(words.back(), c);
    }
    inside = !utf8::is_space(c) && !character;
  }
  return words;
}

AnswerScore score_answer(std::string_view answer, const std::vector<std::string>& right,
                         const QuestionSettings& settings) {
  const bool version_2 = settings.version_2_with_negative;
  const AnswerWords predicted = answer_words(answer, settings.language);
  std::vector<AnswerWords> golds;
  for (const std::string& text : right) {
    golds.push_back(answer_words(text, settings.language));
    if (version_2 && golds.back().empty()) golds.pop_back();
  }
  if (version_2 && golds.empty()) golds.emplace_back();
  AnswerScore best;
  for (const AnswerWords& gold : golds) {
    best.exact = std::max(best.exact, predicted == gold ? 1.0 : 0.0);
    best.f1 = std::max(best.f1, f1_of(predicted, gold, version_2));
  }
  return best;
}

}  // namespace graft::tasks
