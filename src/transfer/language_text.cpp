#include "transfer/language_text.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/utf8.h"
#include "transfer/languages.h"

namespace graft::transfer {
namespace {

// The texts of a row.
std::vector<std::string> texts_of(const Example& e) {
  std::vector<std::string> out;
  if (!e.words.empty()) {
    std::string text;
    for (const TaggedWord& word : e.words) text += (text.empty() ? "" : " ") + word.text;
    return {text};
  }
  out.push_back(e.text);
  if (e.has_pair) out.push_back(e.text_pair);
  for (const std::string& negative : e.negatives) out.push_back(negative);
  for (const std::string& choice : e.choices) out.push_back(choice);
  return out;
}

// Tokens of the longest sequence that the task makes of a row whose texts have so many.
int64_t longest_sequence(const Example& e, const std::vector<int64_t>& tokens, tasks::Input input,
                         const std::array<int64_t, 2>& special) {
  if (input == tasks::Input::text_tuples)  // each text is a sequence
    return *std::max_element(tokens.begin(), tokens.end()) + special[0];
  if (input == tasks::Input::choices) {  // the context, and each choice behind what stands before it
    const auto first_choice = tokens.end() - std::ssize(e.choices);
    return std::accumulate(tokens.begin(), first_choice, int64_t{0}) +
           *std::max_element(first_choice, tokens.end()) + special[1];
  }
  return std::accumulate(tokens.begin(), tokens.end(), int64_t{0}) + special[tokens.size() > 1 ? 1 : 0];
}

struct Units {
  int64_t words = 0, characters = 0;  // between white space, and without it
};

Units units_of(const std::string& text) {
  Units out;
  char32_t c = 0;
  bool inside = false;
  for (size_t pos = 0; pos < text.size();) {
    const int n = utf8::decode(text, pos, c);
    pos += n > 0 ? static_cast<size_t>(n) : 1;
    const bool space = n > 0 && utf8::is_space(c);
    out.characters += space ? 0 : 1;
    out.words += !space && !inside ? 1 : 0;
    inside = !space;
  }
  return out;
}

double ratio(int64_t part, int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0;
}

struct RowScript {
  Script script;
  int64_t line;
};

void find_other_scripts(const std::vector<RowScript>& rows, LanguageText& out) {
  std::array<int64_t, static_cast<size_t>(Script::num_scripts)> counts{};
  for (const auto& [script, line] : rows) {
    if (script == out.script || script == Script::none) continue;
    if (out.other_rows++ == 0) out.other_line = line;
    ++counts[static_cast<size_t>(script)];
  }
  if (out.other_rows > 0)
    out.other_script = static_cast<Script>(std::max_element(counts.begin(), counts.end()) - counts.begin());
}

}  // namespace

double LanguageText::tokens_per_word() const {
  return ratio(tokens, by_characters() ? unspaced_characters : words);
}

double LanguageText::unknown_rate() const { return ratio(unknown_tokens, tokens); }

double LanguageText::long_share() const { return ratio(long_rows, rows); }

LanguageText text_of(const Dataset& rows, const Tokenizer& tokenizer, tasks::Input input,
                     int64_t max_length) {
  LanguageText out;
  out.rows = static_cast<int64_t>(rows.size());
  out.in_windows = input == tasks::Input::questions || input == tasks::Input::tagged_words;
  out.max_length = max_length;
  const std::array<int64_t, 2> special = {std::ssize(tokenizer.encode("").input_ids),
                                          std::ssize(tokenizer.encode_pair("", "").input_ids)};
  EncodeOptions options;
  options.ids_only = true;
  options.add_special_tokens = false;
  const std::optional<int32_t> unknown = tokenizer.special_id("unk_token");
  ScriptCounts all;
  std::vector<RowScript> scripts;
  int64_t characters = 0;
  bool has_words = false;
  constexpr size_t kPiece = 1024;  // rows in flight
  for (size_t begin = 0; begin < rows.size(); begin += kPiece) {
    const size_t end = std::min(rows.size(), begin + kPiece);
    std::vector<std::string> texts;
    std::vector<size_t> ends;
    for (size_t i = begin; i < end; ++i) {
      for (std::string& text : texts_of(rows[i])) texts.push_back(std::move(text));
      ends.push_back(texts.size());
    }
    const std::vector<Encoding> encoded = tokenizer.encode_batch(texts, {}, options);
    for (size_t i = begin, at = 0; i < end; ++i) {
      ScriptCounts of_row;
      std::vector<int64_t> tokens;
      for (; at < ends[i - begin]; ++at) {
        of_row.add(texts[at]);
        const Units units = units_of(texts[at]);
        out.words += units.words;
        characters += units.characters;
        const std::vector<int32_t>& ids = encoded[at].input_ids;
        tokens.push_back(std::ssize(ids));
        out.tokens += std::ssize(ids);
        if (unknown) out.unknown_tokens += std::count(ids.begin(), ids.end(), *unknown);
      }
      has_words |= !rows[i].words.empty();
      out.long_rows +=
          max_length > 0 && longest_sequence(rows[i], tokens, input, special) > max_length ? 1 : 0;
      all.add(of_row);
      scripts.push_back({of_row.main(), rows[i].line});
    }
  }
  out.script = all.main();
  if (!has_spaces(out.script) && !has_words) out.unspaced_characters = characters;
  find_other_scripts(scripts, out);
  return out;
}

LanguageText scripts_of_texts(const std::vector<std::string>& texts) {
  LanguageText out;
  out.rows = std::ssize(texts);
  ScriptCounts all;
  std::vector<RowScript> scripts;
  for (const std::string& text : texts) {
    ScriptCounts of_text;
    of_text.add(text);
    all.add(of_text);
    scripts.push_back({of_text.main(), 0});
  }
  out.script = all.main();
  find_other_scripts(scripts, out);
  return out;
}

std::string tokenizer_complaint(const LanguageText& text, const LanguageText& source) {
  constexpr double kManyUnknown = 0.05, kFarAbove = 2;  // times the source's tokens per word
  constexpr double kCharactersCut = 1.5;  // a tokenizer that has the characters needs one or less
  if (text.unknown_rate() > kManyUnknown)
    return fmt::format("{:.1f} % of the pieces are unknown to the tokenizer", 100 * text.unknown_rate());
  const double own = text.tokens_per_word(), other = source.tokens_per_word();
  if (text.by_characters())
    return own > kCharactersCut ? fmt::format("the tokenizer needs {:.2f} tokens for a character", own) : "";
  if (!source.by_characters() && other > 0 && own > kFarAbove * other)
    return fmt::format("the tokenizer cuts a word into {:.2f} tokens, one of the source language into {:.2f}",
                       own, other);
  return "";
}

std::string script_complaint(const LanguageText& text) {
  constexpr double kFew = 0.02;  // rows of names and numbers
  if (static_cast<double>(text.other_rows) <= kFew * static_cast<double>(text.rows)) return "";
  return fmt::format("{} of {} rows are mostly in {} script, the others in {}{}", text.other_rows, text.rows,
                     name_of(text.other_script), name_of(text.script),
                     text.other_line > 0 ? fmt::format(" (first: line {})", text.other_line) : "");
}

std::string language_complaint(const LanguageText& text, const std::string& language) {
  const std::vector<Script> scripts = scripts_of(language);
  if (text.script == Script::none || scripts.empty() ||
      std::find(scripts.begin(), scripts.end(), text.script) != scripts.end())
    return "";
  return fmt::format("the rows are in {} script, and {} is written in {}", name_of(text.script),
                     language_name(language), name_of(scripts.front()));
}

std::vector<std::string> script_complaints(const LanguageText& text, const std::string& language) {
  std::vector<std::string> out = {script_complaint(text), language_complaint(text, language)};
  std::erase(out, "");
  return out;
}

Json to_json(const LanguageText& t) {
  return {{"rows", t.rows},
          {t.in_windows ? "rows_in_windows" : "truncated_rows", t.long_rows},
          {"max_seq_length", t.max_length},
          {"unknown_rate", t.unknown_rate()},
          {t.by_characters() ? "tokens_per_character" : "tokens_per_word", t.tokens_per_word()},
          {"script", name_of(t.script)},
          {"rows_in_another_script", t.other_rows}};
}

}  // namespace graft::transfer
