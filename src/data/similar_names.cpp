#include "data/similar_names.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <unordered_map>

#include "base/log.h"
#include "base/shown.h"
#include "base/utf8.h"
#include "data/label_tally.h"

namespace graft::data {
namespace {

struct LookAlike {
  char32_t letter;
  char latin;
};

// Cyrillic and Greek letters that most fonts draw as Latin ones. Source: Unicode's confusables.txt (UTS #39),
// the single letters that map to an ASCII letter in these two blocks, without those that differ visibly.
constexpr LookAlike kLookAlikes[] = {
    {0x0391, 'A'}, {0x0392, 'B'}, {0x0395, 'E'}, {0x0396, 'Z'}, {0x0397, 'H'}, {0x0399, 'I'}, {0x039A, 'K'},
    {0x039C, 'M'}, {0x039D, 'N'}, {0x039F, 'O'}, {0x03A1, 'P'}, {0x03A4, 'T'}, {0x03A5, 'Y'}, {0x03A7, 'X'},
    {0x03BF, 'o'}, {0x03BD, 'v'}, {0x0405, 'S'}, {0x0406, 'I'}, {0x0408, 'J'}, {0x0410, 'A'}, {0x0412, 'B'},
    {0x0415, 'E'}, {0x041A, 'K'}, {0x041C, 'M'}, {0x041D, 'H'}, {0x041E, 'O'}, {0x0420, 'P'}, {0x0421, 'C'},
    {0x0422, 'T'}, {0x0425, 'X'}, {0x0430, 'a'}, {0x0435, 'e'}, {0x043E, 'o'}, {0x0440, 'p'}, {0x0441, 'c'},
    {0x0443, 'y'}, {0x0445, 'x'}, {0x0455, 's'}, {0x0456, 'i'}, {0x0458, 'j'}, {0x04BB, 'h'}, {0x0501, 'd'},
    {0x051B, 'q'}, {0x051D, 'w'},
};

std::string with_latin_letters(std::string_view name) {
  std::string out;
  for (size_t pos = 0; pos < name.size();) {
    char32_t c = 0;
    const auto n = static_cast<size_t>(std::max(1, utf8::decode(name, pos, c)));
    char latin = 0;
    for (const LookAlike& look_alike : kLookAlikes) latin = look_alike.letter == c ? look_alike.latin : latin;
    latin ? out.append(1, latin) : out.append(name.substr(pos, n));
    pos += n;
  }
  return out;
}

}  // namespace

std::string folded(std::string_view name) {
  constexpr int kOptions = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD |
                           UTF8PROC_IGNORE | UTF8PROC_NLF2LF;
  utf8proc_uint8_t* out = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(name.data()),
                                             static_cast<utf8proc_ssize_t>(name.size()), &out,
                                             static_cast<utf8proc_option_t>(kOptions));
  if (size < 0) return std::string(name);  // not UTF-8: equal to itself only
  std::string text(reinterpret_cast<const char*>(out), static_cast<size_t>(size));
  std::free(out);
  const size_t begin = text.find_first_not_of(" \t\r\n"), end = text.find_last_not_of(" \t\r\n");
  return begin == text.npos ? "" : text.substr(begin, end - begin + 1);
}

std::string skeleton(std::string_view name) {
  const std::string text = folded(name);
  if (const auto number = parse_number(text)) return fmt::format("{}", *number + 0.0);  // -0 is 0
  return folded(with_latin_letters(name));
}

const char* difference(std::string_view a, std::string_view b) {
  const std::string text = folded(a);
  if (text == folded(b)) return "in case, outer spaces or Unicode form";
  return parse_number(text) ? "in how the number is written" : "in letters of another script that look alike";
}

std::string look_alike(std::string_view name, const std::vector<std::string>& known) {
  const std::string key = skeleton(name);
  for (const std::string& candidate : known) {
    if (candidate != name && skeleton(candidate) == key) return candidate;
  }
  return "";
}

std::string both_shown(const std::string& a, const std::string& b) {
  // What differs in case or spaces shows; what differs in its Unicode form does not.
  const auto is_ascii = [](const std::string& s) {
    for (const char c : s) {
      if (static_cast<unsigned char>(c) > 0x7F) return false;
    }
    return true;
  };
  if (is_ascii(a) && is_ascii(b)) return fmt::format("'{}' and '{}'", shown(a), shown(b));
  return fmt::format("'{}' and '{}'", shown_in_ascii(a), shown_in_ascii(b));
}

void warn_of_similar_names(const std::vector<LabelCount>& labels, const std::string& place) {
  constexpr size_t kShown = 5;
  std::unordered_map<std::string, size_t> first;
  size_t pairs = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    const auto [at, is_new] = first.emplace(skeleton(labels[i].label), i);
    if (is_new || ++pairs > kShown) continue;
    const LabelCount &a = labels[at->second], &b = labels[i];
    const std::string lines =
        a.line > 0 && b.line > 0 ? fmt::format(" (lines {} and {})", a.line, b.line) : std::string();
    log_warning("{}: the labels {}{} differ only {} and are two labels", place, both_shown(a.label, b.label),
                lines, difference(a.label, b.label));
  }
  if (pairs > kShown) log_warning("{}: {} more pairs of labels differ so little", place, pairs - kShown);
}

}  // namespace graft::data
