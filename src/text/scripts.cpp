// The UnicodeScripts pre-tokenizer: a word ends where the script changes; a space fits every script.
#include <algorithm>
#include <iterator>

#include "text/pre_tokenizer.h"
#include "text/unicode.h"
#include "text/unicode_scripts.h"

namespace graft::text {
namespace {

constexpr int kAnyScript = -1;  // a space, or a code point without a script

int script_of(char32_t c) {
  if (c == ' ') return kAnyScript;
  if (c == 0x30FC) c = 0x4E00;  // the prolonged sound mark is Common, but belongs to kana words
  const auto* it = std::upper_bound(std::begin(kScriptRanges), std::end(kScriptRanges), c,
                                    [](char32_t x, const ScriptRange& range) { return x < range.first; });
  return it != std::begin(kScriptRanges) && c <= std::prev(it)->last ? std::prev(it)->script : kAnyScript;
}

}  // namespace

void split_scripts(std::string_view text, size_t begin, size_t end, std::vector<Span>& out) {
  constexpr int kNone = -2;
  int last = kNone;
  size_t start = begin;
  for (size_t pos = begin; pos < end;) {
    const size_t at = pos;
    const int script = script_of(next_char(text, pos));
    if (script == kAnyScript) continue;
    if (last != script) {
      if (last != kNone) out.push_back({static_cast<int32_t>(start), static_cast<int32_t>(at)});
      start = at;  // the reference drops spaces at the start of the text
    }
    last = script;
  }
  if (last != kNone) out.push_back({static_cast<int32_t>(start), static_cast<int32_t>(end)});
}

}  // namespace graft::text
