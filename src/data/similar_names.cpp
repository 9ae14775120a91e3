#include "data/similar_names.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <cstdlib>
#include <unordered_map>

#include "base/log.h"
#include "base/shown.h"

namespace graft::data {

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

std::string look_alike(std::string_view name, const std::vector<std::string>& known) {
  const std::string key = folded(name);
  for (const std::string& candidate : known) {
    if (candidate != name && folded(candidate) == key) return candidate;
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
    const auto [at, is_new] = first.emplace(folded(labels[i].label), i);
    if (is_new || ++pairs > kShown) continue;
    const LabelCount &a = labels[at->second], &b = labels[i];
    const std::string lines =
        a.line > 0 && b.line > 0 ? fmt::format(" (lines {} and {})", a.line, b.line) : std::string();
    log_warning("{}: the labels {}{} differ only in case, outer spaces or Unicode form and are two labels",
                place, both_shown(a.label, b.label), lines);
  }
  if (pairs > kShown) log_warning("{}: {} more pairs of labels differ so little", place, pairs - kShown);
}

}  // namespace graft::data
