// NFC, NFD, NFKC and NFKD (Unicode Standard Annex 15) with the same alignment changes per character as the
// reference.
#include <utf8proc.h>

#include <algorithm>
#include <unordered_map>

#include "text/normalizer.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

struct Unit {
  char32_t c;
  int32_t change;
  uint8_t ccc;
};

uint8_t combining_class(char32_t c) {
  if (c < 0x300) return 0;
  const auto ccc = utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class;
  return ccc == 0 || is_late_mark(c) ? 0 : static_cast<uint8_t>(ccc);
}

// True if NFC of the full decomposition of `c` is `c`. False for composition exclusions and singletons
// (U+1FD3).
bool composes_to(const utf8proc_int32_t* parts, utf8proc_ssize_t n, char32_t c) {
  utf8proc_int32_t copy[8];
  std::copy(parts, parts + n, copy);
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  return utf8proc_normalize_utf32(copy, n, options) == 1 && static_cast<char32_t>(copy[0]) == c;
}

// Primary composites: (first, second) -> composed; without the composition exclusions.
const std::unordered_map<uint64_t, char32_t>& composites() {
  static const auto* map = [] {
    auto* m = new std::unordered_map<uint64_t, char32_t>;  // never freed
    // Two passes: a few composites (U+0390) are composed from later ones (U+03CA).
    for (char32_t i = 0; i < 2 * 0x1D200; ++i) {
      const char32_t c = i % 0x1D200;
      const auto* p = utf8proc_get_property(static_cast<utf8proc_int32_t>(c));
      if (p->comp_exclusion || p->decomp_type != 0 || p->decomp_seqindex == UINT16_MAX) continue;
      if (c >= 0xAC00 && c <= 0xD7A3) continue;  // Hangul is composed by arithmetic
      // One step of the canonical decomposition: the full decomposition, with all characters but the last
      // composed again.
      utf8proc_int32_t parts[8];
      int last_class = 0;
      const auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts, 8, UTF8PROC_DECOMPOSE,
                                             &last_class);
      if (n < 2 || !composes_to(parts, n, c) || is_not_decomposed(c)) continue;
      char32_t first = static_cast<char32_t>(parts[0]);
      for (int i = 1; i + 1 < n; ++i) {
        const auto it = m->find(uint64_t{first} << 32 | static_cast<uint32_t>(parts[i]));
        if (it == m->end()) {
          first = 0;
          break;
        }
        first = it->second;
      }
      if (first) m->emplace(uint64_t{first} << 32 | static_cast<uint32_t>(parts[n - 1]), c);
    }
    return m;
  }();
  return *map;
}

char32_t compose(char32_t a, char32_t b) {
  if (a >= 0x1100 && a < 0x1113 && b >= 0x1161 && b < 0x1176)
    return 0xAC00 + ((a - 0x1100) * 21 + (b - 0x1161)) * 28;
  if (a >= 0xAC00 && a <= 0xD7A3 && (a - 0xAC00) % 28 == 0 && b > 0x11A7 && b < 0x11C3)
    return a + (b - 0x11A7);
  const auto it = composites().find(uint64_t{a} << 32 | b);
  return it == composites().end() ? 0 : it->second;
}

void decompose(std::string_view text, bool compatibility, HugeArray<Unit>& out) {
  const auto options =
      static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | (compatibility ? UTF8PROC_COMPAT : 0));
  size_t marks = 0;  // where the run of combining marks at the end of `out` begins
  const auto sort_marks = [&] {
    if (out.size() - marks > 1)
      std::stable_sort(out.begin() + marks, out.end(),
                       [](const Unit& a, const Unit& b) { return a.ccc < b.ccc; });
  };
  for (size_t pos = 0; pos < text.size();) {
    const char32_t c = next_char(text, pos);
    utf8proc_int32_t parts[32];
    utf8proc_ssize_t n = 1;
    int last_class = 0;
    parts[0] = static_cast<utf8proc_int32_t>(c);
    if (c >= (compatibility ? 0xA0u : 0xC0u) && !is_not_decomposed(c))
      n = utf8proc_decompose_char(parts[0], parts, 32, options, &last_class);
    if (n <= 0) {
      n = 1;
      parts[0] = static_cast<utf8proc_int32_t>(c);
    }
    for (int i = 0; i < n; ++i) {
      const auto part = static_cast<char32_t>(parts[i]);
      const uint8_t ccc = combining_class(part);
      if (ccc == 0) {
        sort_marks();
        out.push_back({part, i > 0, 0});
        marks = out.size();
      } else {
        out.push_back({part, i > 0, ccc});
      }
    }
  }
  sort_marks();
}

// Composes in place. The `change` of a composite is lowered by the number of characters merged into it.
void recompose(HugeArray<Unit>& units) {
  size_t write = 0;
  size_t starter = SIZE_MAX;
  for (size_t read = 0; read < units.size(); ++read) {
    const Unit u = units[read];
    if (starter != SIZE_MAX) {
      const bool adjacent = write == starter + 1;
      const bool blocked = !adjacent && (units[write - 1].ccc == 0 || units[write - 1].ccc >= u.ccc);
      const char32_t composed = blocked ? 0 : compose(units[starter].c, u.c);
      if (composed) {
        units[starter].c = composed;
        units[starter].change += u.change - 1;
        continue;
      }
    }
    if (u.ccc == 0) starter = write;
    units[write++] = u;
  }
  units.resize(write);
}

}  // namespace

bool is_surely_normal(std::string_view text, NormalForm form) {
  const bool composed = form == NormalForm::nfc || form == NormalForm::nfkc;
  const bool compatibility = form == NormalForm::nfkc || form == NormalForm::nfkd;
  for (size_t pos = 0; pos < text.size();) {
    if (static_cast<unsigned char>(text[pos]) < 0x80) {
      ++pos;
      continue;
    }
    const char32_t c = next_char(text, pos);
    // All characters below U+0300 are composed already. These blocks contain neither marks nor singletons.
    const bool plain =
        (c >= 0x4E00 && c <= 0x9FFF) ||
        (composed && ((c >= 0x3041 && c <= 0x3093) || (c >= 0x30A1 && c <= 0x30F6))) ||
        (c >= 0x2010 && c <= 0x2027 && !compatibility) || (c >= 0x3001 && c <= 0x3029 && !compatibility) ||
        (c >= 0x410 && c <= 0x44F && (composed || (c != 0x419 && c != 0x439))) ||
        (composed &&
         ((c < 0x300 && !compatibility) || c == 0x401 || c == 0x451 || (c >= 0xAC00 && c <= 0xD7A3)));
    if (!plain) return false;
  }
  return true;
}

void normalize_form(AlignedText& t, NormalForm form) {
  if (is_surely_normal(t.text, form)) return;
  HugeArray<Unit> units;
  units.reserve(t.text.size());
  decompose(t.text, form == NormalForm::nfkc || form == NormalForm::nfkd, units);
  if (form == NormalForm::nfc || form == NormalForm::nfkc) recompose(units);
  HugeArray<CharChange> changes;
  changes.reserve(units.size());
  for (const Unit& u : units) changes.push_back({u.c, u.change});
  t.transform(changes);
}

}  // namespace graft::text
