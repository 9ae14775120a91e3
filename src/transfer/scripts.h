// The scripts of a text, by the blocks of Unicode.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace graft::transfer {

// none: digits, punctuation and signs, which every script uses. han: with kana, as Japanese mixes them.
enum class Script : uint8_t {
  none,
  latin,
  greek,
  cyrillic,
  armenian,
  hebrew,
  arabic,
  syriac,
  thaana,
  nko,
  devanagari,
  bengali,
  gurmukhi,
  gujarati,
  odia,
  tamil,
  telugu,
  kannada,
  malayalam,
  sinhala,
  thai,
  lao,
  tibetan,
  myanmar,
  georgian,
  hangul,
  ethiopic,
  cherokee,
  canadian,
  khmer,
  mongolian,
  tifinagh,
  han,
  num_scripts
};

Script script_of(char32_t c);
const char* name_of(Script script);
// Whether its texts have spaces between words.
bool has_spaces(Script script);

struct ScriptCounts {
  std::array<int64_t, static_cast<size_t>(Script::num_scripts)> letters{};
  void add(std::string_view text);
  void add(const ScriptCounts& other);
  Script main() const;  // with the most letters; none where there are none
  int64_t of(Script script) const { return letters[static_cast<size_t>(script)]; }
};

}  // namespace graft::transfer
