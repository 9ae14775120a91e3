// How the tokenizer of a model reads the rows of a language.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "tasks/task_table.h"
#include "transfer/scripts.h"

namespace graft::transfer {

struct LanguageText {
  int64_t rows = 0;
  int64_t long_rows = 0;                   // with more tokens than the model reads at once
  bool in_windows = false;                 // the task reads those in windows; else they are truncated
  int64_t max_length = 0;                  // tokens the model reads at once; 0 = no limit
  int64_t tokens = 0, unknown_tokens = 0;  // without special tokens
  int64_t words = 0;                       // separated by white space
  Script script = Script::none;
  int64_t unspaced_characters = 0;  // of texts without spaces between words: characters
  // Rows that are mostly in another script than the file, the most frequent of these scripts, and the line of
  // the first.
  int64_t other_rows = 0, other_line = 0;
  Script other_script = Script::none;

  // Scripts without spaces between words are counted by characters, unless the rows hold words.
  bool by_characters() const { return unspaced_characters > 0; }
  double tokens_per_word() const;  // or per character
  double unknown_rate() const;
  double long_share() const;
};

LanguageText text_of(const Dataset& rows, const Tokenizer& tokenizer, tasks::Input input, int64_t max_length);

// The scripts of texts alone; no line is known.
LanguageText scripts_of_texts(const std::vector<std::string>& texts);
// So many texts tell in which scripts a large file is.
inline constexpr size_t kTextsForScripts = 20000;

// What is wrong with how the tokenizer reads the language; "" = nothing. `source`: the language that the
// model is trained on.
std::string tokenizer_complaint(const LanguageText& text, const LanguageText& source);
// "3 of 100 rows are mostly in Latin script, the others in Cyrillic (first: line 7)"; the line where it is
// known; "" = one script.
std::string script_complaint(const LanguageText& text);
// "the rows are in Han script, and German is written in Latin"; "" = as the language is written.
std::string language_complaint(const LanguageText& text, const std::string& language);
// Those of the two that say something.
std::vector<std::string> script_complaints(const LanguageText& text, const std::string& language);

Json to_json(const LanguageText& text);

}  // namespace graft::transfer
