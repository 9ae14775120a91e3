#include "text/normalizer.h"

#include <functional>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/nearest.h"
#include "base/utf8.h"
#include "text/json_fields.h"
#include "text/pattern.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

// A normalizer that is one function.
class Rule : public Normalizer {
 public:
  explicit Rule(std::function<void(AlignedText&)> rule) : rule_(std::move(rule)) {}
  void normalize(AlignedText& text) const override { rule_(text); }

 private:
  std::function<void(AlignedText&)> rule_;
};

std::unique_ptr<Normalizer> rule(std::function<void(AlignedText&)> f) {
  return std::make_unique<Rule>(std::move(f));
}

void lowercase(AlignedText& t) {
  HugeArray<CharChange> changes;
  changes.reserve(t.text.size());
  bool changed = false;
  for (size_t pos = 0; pos < t.text.size();) {
    const char32_t c = next_char(t.text, pos);
    char32_t lower[2];
    const int n = to_lower(c, lower);
    for (int i = 0; i < n; ++i) changes.push_back({lower[i], i > 0});
    changed |= n > 1 || lower[0] != c;
  }
  if (changed) t.transform(changes);
}

void bert_normalize(AlignedText& t, const BertNormalizerOptions& options) {
  if (options.clean_text) {
    t.filter([](char32_t c) {
      if (c == '\t' || c == '\n' || c == '\r') return true;
      return c != 0 && c != 0xFFFD && !(char_flags(c) & kOther);
    });
    t.map([](char32_t c) { return is_whitespace(c) ? U' ' : c; });
  }
  if (options.handle_chinese_chars) {
    HugeArray<CharChange> changes;
    bool changed = false;
    for (size_t pos = 0; pos < t.text.size();) {
      const char32_t c = next_char(t.text, pos);
      if (char_flags(c) & kChinese) {
        changes.insert(changes.end(), {{U' ', 0}, {c, 1}, {U' ', 1}});
        changed = true;
      } else {
        changes.push_back({c, 0});
      }
    }
    if (changed) t.transform(changes);
  }
  if (options.strip_accents) {
    normalize_form(t, NormalForm::nfd);
    t.filter([](char32_t c) { return !(char_flags(c) & kNonspacing); });
  }
  if (options.lowercase) lowercase(t);
}

void strip(AlignedText& t, bool left, bool right) {
  std::vector<size_t> starts;
  for (size_t pos = 0; pos < t.text.size();) {
    starts.push_back(pos);
    next_char(t.text, pos);
  }
  const auto space_at = [&](size_t i) {
    size_t pos = starts[i];
    return is_whitespace(next_char(t.text, pos));
  };
  size_t first = 0, last = starts.size();
  while (left && first < last && space_at(first)) ++first;
  while (right && last > first && space_at(last - 1)) --last;
  const size_t begin = first < starts.size() ? starts[first] : t.text.size();
  const size_t end = last < starts.size() ? starts[last] : t.text.size();
  t.text = t.text.substr(begin, end - begin);
  t.align.assign(t.align.begin() + begin, t.align.begin() + end);
}

void nmt(AlignedText& t) {
  t.filter([](char32_t c) {
    return !((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F ||
             c == 0x9F);
  });
  t.map([](char32_t c) {
    const bool space = c == 9 || c == 10 || c == 12 || c == 13 || c == 0x1680 ||
                       (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                       c == 0xFEFF || c == 0xFFFD;
    return space ? U' ' : c;
  });
}

// The replacement of a match shares the origin of the match's last byte. That of an empty match shares the
// origin of the byte before it, and is empty at the start of the text.
void replace(AlignedText& t, const Pattern& pattern, const std::string& content) {
  std::vector<Match> matches;
  pattern.find(t.text, 0, t.text.size(), matches);
  AlignedText out;
  for (const Match& m : matches) {
    if (m.is_match) {
      out.text += content;
      const int32_t start = t.align.empty() ? 0 : t.align.front().begin;
      out.align.resize(out.text.size(), m.end > 0 ? t.align[m.end - 1] : Span{start, start});
    } else {
      out.text.append(t.text, m.begin, m.end - m.begin);
      out.align.insert(out.align.end(), t.align.begin() + m.begin, t.align.begin() + m.end);
    }
  }
  t = std::move(out);
}

void byte_level(AlignedText& t) {
  AlignedText out;
  for (size_t i = 0; i < t.text.size(); ++i) {
    utf8::append(out.text, byte_to_char(static_cast<uint8_t>(t.text[i])));
    out.align.resize(out.text.size(), t.align[i]);
  }
  t = std::move(out);
}

using Make = std::unique_ptr<Normalizer> (*)(const Json&, const std::string&);

std::unique_ptr<Normalizer> make_sequence(const Json& json, const std::string& where) {
  auto parts = std::make_shared<std::vector<std::unique_ptr<Normalizer>>>();
  for (const Json& part : array_field(json, "normalizers", where))
    parts->push_back(make_normalizer(part, where));
  return rule([parts](AlignedText& t) {
    for (const auto& part : *parts)
      if (part) part->normalize(t);
  });
}

std::unique_ptr<Normalizer> make_bert(const Json& json, const std::string&) {
  return rule([o = bert_normalizer_options(json)](AlignedText& t) { bert_normalize(t, o); });
}

std::unique_ptr<Normalizer> make_replace(const Json& json, const std::string& where) {
  auto pattern = Pattern::from_json(field(json, "pattern", where), where);
  return rule([pattern, content = string_field(json, "content", where)](AlignedText& t) {
    replace(t, pattern, content);
  });
}

std::unique_ptr<Normalizer> make_precompiled(const Json& json, const std::string& where) {
  if (!json.contains("precompiled_charsmap") || json["precompiled_charsmap"].is_null())
    return rule([](AlignedText&) {});
  std::string blob = decode_base64(string_field(json, "precompiled_charsmap", where), where);
  if (blob.empty()) return rule([](AlignedText&) {});
  return make_charsmap(std::move(blob), where);
}

template <NormalForm form>
std::unique_ptr<Normalizer> make_form(const Json&, const std::string&) {
  return rule([](AlignedText& t) { normalize_form(t, form); });
}

const std::vector<std::pair<std::string, Make>>& registry() {
  static const std::vector<std::pair<std::string, Make>> table = {
      {"BertNormalizer", make_bert},
      {"Strip",
       [](const Json& json, const std::string&) {
         const bool left = json.value("strip_left", true), right = json.value("strip_right", true);
         return rule([left, right](AlignedText& t) { strip(t, left, right); });
       }},
      {"StripAccents",
       [](const Json&, const std::string&) {
         return rule([](AlignedText& t) { t.filter([](char32_t c) { return !(char_flags(c) & kMark); }); });
       }},
      {"NFC", make_form<NormalForm::nfc>},
      {"NFD", make_form<NormalForm::nfd>},
      {"NFKC", make_form<NormalForm::nfkc>},
      {"NFKD", make_form<NormalForm::nfkd>},
      {"Lowercase", [](const Json&, const std::string&) { return rule(lowercase); }},
      {"Nmt", [](const Json&, const std::string&) { return rule(nmt); }},
      {"Precompiled", make_precompiled},
      {"Replace", make_replace},
      {"Prepend",
       [](const Json& json, const std::string& where) {
         return rule(
             [prefix = string_field(json, "prepend", where)](AlignedText& t) { t.prepend(0, prefix); });
       }},
      {"ByteLevel", [](const Json&, const std::string&) { return rule(byte_level); }},
      {"Sequence", make_sequence},
  };
  return table;
}

}  // namespace

BertNormalizerOptions bert_normalizer_options(const Json& json) {
  BertNormalizerOptions o;
  o.clean_text = json.value("clean_text", true);
  o.handle_chinese_chars = json.value("handle_chinese_chars", true);
  o.lowercase = json.value("lowercase", true);
  const auto strip_accents = json.find("strip_accents");  // null: the same value as lowercase
  o.strip_accents =
      strip_accents == json.end() || strip_accents->is_null() ? o.lowercase : strip_accents->get<bool>();
  return o;
}

std::unique_ptr<Normalizer> make_normalizer(const Json& json, const std::string& where) {
  if (json.is_null()) return nullptr;
  return make_component(registry(), json, infer_normalizer_type(json), "normalizer", where);
}

}  // namespace graft::text
