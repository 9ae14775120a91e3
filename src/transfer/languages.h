// Language codes: ISO 639-1, and those of ISO 639-3 that data sets of many languages use.
#pragma once
#include <string>
#include <vector>

#include "transfer/scripts.h"

namespace graft::transfer {

// "de", "zh-Hant", "pt-BR", "deu_Latn": a language, then a script, a region and variants as in BCP 47, where
// there are any. Throws UsageError with the nearest language if it names none. `where`: what holds the code,
// for the message.
void check_language(const std::string& code, const std::string& where);

// "German" for "de", "de-CH" and "deu"; the code itself where no name is known.
std::string language_name(const std::string& code);

// The code of two letters where the language has one: "de" for "de-CH" and "deu_Latn". "gsw" for "gsw".
std::string base_language(const std::string& code);

// "de" for "deu"; every other code as it is.
std::string usual_code(const std::string& code);

// The scripts that the language is written in: that of the code ("sr-Latn"), else those of the language;
// empty where they are not known.
std::vector<Script> scripts_of(const std::string& code);

// Whose rules compare answers to questions: "de" where the language has rules, else "other".
std::string answer_rules(const std::string& code);

}  // namespace graft::transfer
