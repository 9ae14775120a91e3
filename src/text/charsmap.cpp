// The sentencepiece "precompiled_charsmap": a double-array trie (Darts) over UTF-8 keys whose values point
// into a table of zero-terminated replacements. Layout: uint32 size of the trie in bytes, the trie, the
// table.
#include <utf8proc.h>

#include <array>
#include <cstring>

#include "base/error.h"
#include "base/utf8.h"
#include "text/normalizer.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

class Charsmap : public Normalizer {
 public:
  Charsmap(std::string blob, const std::string& where) : blob_(std::move(blob)) {
    uint32_t trie_size = 0;
    if (blob_.size() >= 4) std::memcpy(&trie_size, blob_.data(), 4);
    if (blob_.size() < 4 || trie_size % 4 != 0 || trie_size == 0 || trie_size > blob_.size() - 4)
      fail_with("the file is damaged: download it again",
                "{}: precompiled_charsmap gives its trie a size of {} bytes, but has only {} bytes", where,
                trie_size, blob_.size());
    units_.resize(trie_size / 4);
    std::memcpy(units_.data(), blob_.data() + 4, trie_size);
    table_ = std::string_view(blob_).substr(4 + trie_size);
    if (const size_t at = utf8::find_invalid(table_); at != std::string_view::npos)
      fail("{}: precompiled_charsmap: byte {} of its replacements is not valid UTF-8", where, at);
    for (char32_t c = 0; c < 128; ++c) {
      const char key = static_cast<char>(c);
      std::string_view out;
      ascii_plain_[c] = !find({&key, 1}, out);
    }
  }

  void normalize(AlignedText& t) const override;

 private:
  // The replacement of the shortest key that `chunk` starts with: sentencepiece's rule in the reference.
  bool find(std::string_view chunk, std::string_view& out) const {
    size_t node = 0;
    uint32_t unit = units_[0];
    node ^= offset(unit);
    for (const char ch : chunk) {
      const auto b = static_cast<unsigned char>(ch);
      if (b == 0) return false;
      node ^= b;
      if (node >= units_.size()) return false;
      unit = units_[node];
      if ((unit & 0x800000FFu) != b) return false;
      node ^= offset(unit);
      if (unit >> 8 & 1) {
        if (node >= units_.size()) return false;
        const size_t at = units_[node] & 0x7FFFFFFFu;
        if (at >= table_.size()) return false;
        const size_t end = table_.find('\0', at);
        out = table_.substr(at, end == std::string_view::npos ? end : end - at);
        return out.empty() || !is_continuation(out[0]);
      }
    }
    return false;
  }
  static size_t offset(uint32_t unit) { return size_t{unit >> 10} << ((unit & 0x200u) >> 6); }

  std::string blob_;
  std::vector<uint32_t> units_;
  std::string_view table_;
  bool ascii_plain_[128];
};

void add_replacement(HugeArray<CharChange>& changes, std::string_view old_part, std::string_view new_part) {
  const auto old_count = static_cast<int32_t>(count_chars(old_part));
  int32_t new_count = 0;
  for (size_t pos = 0; pos < new_part.size(); ++new_count) {
    const char32_t c = next_char(new_part, pos);
    changes.push_back({c, new_count >= old_count ? 1 : 0});
  }
  // Characters removed at the start of the text leave no alignment, as in the reference.
  if (new_count < old_count && !changes.empty()) changes.back().change += new_count - old_count;
}

// End of the grapheme cluster at text[pos].
size_t grapheme_end(std::string_view text, size_t pos) {
  size_t p = pos;
  char32_t c = next_char(text, p);
  utf8proc_int32_t state = 0;
  while (p < text.size()) {
    size_t q = p;
    const char32_t d = next_char(text, q);
    if (c < 0x80 && d < 0x80) {
      if (c != '\r' || d != '\n') break;
    } else if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(c),
                                                static_cast<utf8proc_int32_t>(d), &state)) {
      break;
    }
    c = d;
    p = q;
  }
  return p;
}

void Charsmap::normalize(AlignedText& t) const {
  const std::string_view text = t.text;
  HugeArray<CharChange> changes;
  changes.reserve(text.size());
  bool modified = false;
  std::string_view out;
  for (size_t pos = 0; pos < text.size();) {
    const auto lead = static_cast<unsigned char>(text[pos]);
    if (lead < 0x80 && ascii_plain_[lead] && lead != '\r' &&
        (pos + 1 == text.size() || static_cast<unsigned char>(text[pos + 1]) < 0x80)) {
      changes.push_back({lead, 0});
      ++pos;
      continue;
    }
    const size_t end = grapheme_end(text, pos);
    const std::string_view grapheme = text.substr(pos, end - pos);
    pos = end;
    if (grapheme.size() < 6 && find(grapheme, out)) {
      add_replacement(changes, grapheme, out);
      modified = true;
      continue;
    }
    for (size_t p = 0; p < grapheme.size();) {
      const size_t at = p;
      const char32_t c = next_char(grapheme, p);
      if (find(grapheme.substr(at, p - at), out)) {
        add_replacement(changes, grapheme.substr(at, p - at), out);
        modified = true;
      } else {
        changes.push_back({c, 0});
      }
    }
  }
  if (modified) t.transform(changes);
}

constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::unique_ptr<Normalizer> make_charsmap(std::string blob, const std::string& where) {
  return std::make_unique<Charsmap>(std::move(blob), where);
}

std::string decode_base64(const std::string& text, const std::string& where) {
  static const auto values = [] {
    std::array<int, 256> v;
    v.fill(-1);
    for (int i = 0; i < 64; ++i) v[static_cast<unsigned char>(kAlphabet[i])] = i;
    return v;
  }();
  std::string out;
  out.reserve(text.size() / 4 * 3);
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=') break;
    const int v = values[static_cast<unsigned char>(c)];
    if (v < 0) fail("{}: precompiled_charsmap is not base64 (character {:?})", where, std::string(1, c));
    bits = bits << 6 | static_cast<uint32_t>(v);
    if (++count % 4 != 1) out += static_cast<char>(bits >> (6 - 2 * ((count - 1) % 4)));
  }
  return out;
}

std::string encode_base64(std::string_view bytes) {
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t v = 0;
    const size_t n = std::min<size_t>(3, bytes.size() - i);
    for (size_t k = 0; k < 3; ++k) v = v << 8 | (k < n ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k) out += k <= n ? kAlphabet[v >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

}  // namespace graft::text
