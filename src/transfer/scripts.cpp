#include "transfer/scripts.h"

#include <algorithm>

#include "base/utf8.h"

namespace graft::transfer {
namespace {

struct Block {
  char32_t first, last;
  Script script;
};

// Sorted. From Unicode's Blocks.txt; blocks of punctuation and of signs are left out.
constexpr Block kBlocks[] = {
    {0x41, 0x5A, Script::latin},          {0x61, 0x7A, Script::latin},
    {0xAA, 0xAA, Script::latin},          {0xBA, 0xBA, Script::latin},
    {0xC0, 0xD6, Script::latin},          {0xD8, 0xF6, Script::latin},
    {0xF8, 0x24F, Script::latin},         {0x370, 0x3FF, Script::greek},
    {0x400, 0x52F, Script::cyrillic},     {0x530, 0x58F, Script::armenian},
    {0x590, 0x5FF, Script::hebrew},       {0x600, 0x6FF, Script::arabic},
    {0x700, 0x74F, Script::syriac},       {0x750, 0x77F, Script::arabic},
    {0x780, 0x7BF, Script::thaana},       {0x7C0, 0x7FF, Script::nko},
    {0x870, 0x8FF, Script::arabic},       {0x900, 0x97F, Script::devanagari},
    {0x980, 0x9FF, Script::bengali},      {0xA00, 0xA7F, Script::gurmukhi},
    {0xA80, 0xAFF, Script::gujarati},     {0xB00, 0xB7F, Script::odia},
    {0xB80, 0xBFF, Script::tamil},        {0xC00, 0xC7F, Script::telugu},
    {0xC80, 0xCFF, Script::kannada},      {0xD00, 0xD7F, Script::malayalam},
    {0xD80, 0xDFF, Script::sinhala},      {0xE00, 0xE7F, Script::thai},
    {0xE80, 0xEFF, Script::lao},          {0xF00, 0xFFF, Script::tibetan},
    {0x1000, 0x109F, Script::myanmar},    {0x10A0, 0x10FF, Script::georgian},
    {0x1100, 0x11FF, Script::hangul},     {0x1200, 0x139F, Script::ethiopic},
    {0x13A0, 0x13FF, Script::cherokee},   {0x1400, 0x167F, Script::canadian},
    {0x1780, 0x17FF, Script::khmer},      {0x1800, 0x18AF, Script::mongolian},
    {0x18B0, 0x18FF, Script::canadian},   {0x1C80, 0x1C8F, Script::cyrillic},
    {0x1C90, 0x1CBF, Script::georgian},   {0x1E00, 0x1EFF, Script::latin},
    {0x1F00, 0x1FFF, Script::greek},      {0x2C60, 0x2C7F, Script::latin},
    {0x2D00, 0x2D2F, Script::georgian},   {0x2D30, 0x2D7F, Script::tifinagh},
    {0x2D80, 0x2DDF, Script::ethiopic},   {0x2DE0, 0x2DFF, Script::cyrillic},
    {0x2E80, 0x2FDF, Script::han},        {0x3005, 0x3007, Script::han},
    {0x3040, 0x312F, Script::han},        {0x3130, 0x318F, Script::hangul},
    {0x31A0, 0x31BF, Script::han},        {0x31F0, 0x31FF, Script::han},
    {0x3400, 0x4DBF, Script::han},        {0x4E00, 0x9FFF, Script::han},
    {0xA640, 0xA69F, Script::cyrillic},   {0xA720, 0xA7FF, Script::latin},
    {0xA8E0, 0xA8FF, Script::devanagari}, {0xA960, 0xA97F, Script::hangul},
    {0xAA60, 0xAA7F, Script::myanmar},    {0xAB30, 0xAB6F, Script::latin},
    {0xAC00, 0xD7FF, Script::hangul},     {0xF900, 0xFAFF, Script::han},
    {0xFB00, 0xFB06, Script::latin},      {0xFB13, 0xFB17, Script::armenian},
    {0xFB1D, 0xFB4F, Script::hebrew},     {0xFB50, 0xFDFF, Script::arabic},
    {0xFE70, 0xFEFC, Script::arabic},     {0xFF21, 0xFF3A, Script::latin},
    {0xFF41, 0xFF5A, Script::latin},      {0xFF66, 0xFF9F, Script::han},
    {0xFFA0, 0xFFDC, Script::hangul},     {0x20000, 0x3FFFF, Script::han},
};

constexpr const char* kNames[] = {"no script",
                                  "Latin",
                                  "Greek",
                                  "Cyrillic",
                                  "Armenian",
                                  "Hebrew",
                                  "Arabic",
                                  "Syriac",
                                  "Thaana",
                                  "N'Ko",
                                  "Devanagari",
                                  "Bengali",
                                  "Gurmukhi",
                                  "Gujarati",
                                  "Odia",
                                  "Tamil",
                                  "Telugu",
                                  "Kannada",
                                  "Malayalam",
                                  "Sinhala",
                                  "Thai",
                                  "Lao",
                                  "Tibetan",
                                  "Burmese",
                                  "Georgian",
                                  "Hangul",
                                  "Ethiopic",
                                  "Cherokee",
                                  "Canadian Aboriginal",
                                  "Khmer",
                                  "Mongolian",
                                  "Tifinagh",
                                  "Han and kana"};
static_assert(std::size(kNames) == static_cast<size_t>(Script::num_scripts));

}  // namespace

Script script_of(char32_t c) {
  const Block* at = std::lower_bound(std::begin(kBlocks), std::end(kBlocks), c,
                                     [](const Block& block, char32_t value) { return block.last < value; });
  return at != std::end(kBlocks) && c >= at->first ? at->script : Script::none;
}

const char* name_of(Script script) { return kNames[static_cast<size_t>(script)]; }

bool has_spaces(Script script) {
  switch (script) {
    case Script::han:
    case Script::thai:
    case Script::lao:
    case Script::khmer:
    case Script::myanmar:
    case Script::tibetan:
      return false;
    default:
      return true;
  }
}

void ScriptCounts::add(std::string_view text) {
  char32_t c = 0;
  for (size_t pos = 0; pos < text.size();) {
    const int n = utf8::decode(text, pos, c);
    pos += n > 0 ? static_cast<size_t>(n) : 1;
    if (n == 0) continue;
    if (const Script script = script_of(c); script != Script::none) ++letters[static_cast<size_t>(script)];
  }
}

void ScriptCounts::add(const ScriptCounts& other) {
  for (size_t i = 0; i < letters.size(); ++i) letters[i] += other.letters[i];
}

Script ScriptCounts::main() const {
  const auto most = std::max_element(letters.begin(), letters.end());
  return *most == 0 ? Script::none : static_cast<Script>(most - letters.begin());
}

}  // namespace graft::transfer
