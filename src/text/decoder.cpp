#include "text/decoder.h"

#include "base/utf8.h"
#include "text/json_fields.h"
#include "text/pattern.h"
#include "text/pre_tokenizer.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

using Tokens = std::vector<std::string>;

bool starts_with(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

Decoder make_bpe(const Json& json, const std::string&) {
  return [suffix = json.value("suffix", "</w>")](Tokens& tokens) {
    for (size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = replace_all(tokens[i], suffix, i + 1 == tokens.size() ? "" : " ");
  };
}

void byte_level(Tokens& tokens) {
  std::string bytes;
  for (const std::string& token : tokens) {
    const size_t before = bytes.size();
    for (size_t pos = 0; pos < token.size();) {
      const int b = char_to_byte(next_char(token, pos));
      if (b < 0) {  // not a byte-level token: copied unchanged
        bytes.resize(before);
        bytes += token;
        break;
      }
      bytes += static_cast<char>(b);
    }
  }
  tokens = {utf8::replace_invalid(bytes)};
}

Decoder make_wordpiece(const Json& json, const std::string&) {
  return [prefix = json.value("prefix", "##"), cleanup = json.value("cleanup", true)](Tokens& tokens) {
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0)
        tokens[i] = starts_with(tokens[i], prefix) ? tokens[i].substr(prefix.size()) : " " + tokens[i];
      if (cleanup) tokens[i] = clean_up_pieces(std::move(tokens[i]));
    }
  };
}

Decoder make_metaspace(const Json& json, const std::string& where) {
  const std::string replacement = string_field(json, "replacement", where);
  const bool drops_first = parse_prepend_scheme(json, where) != PrependScheme::never;
  return [=](Tokens& tokens) {
    for (size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = replace_all(std::move(tokens[i]), replacement, i == 0 && drops_first ? "" : " ");
  };
}

Decoder make_replace(const Json& json, const std::string& where) {
  const Pattern pattern = Pattern::from_json(field(json, "pattern", where), where);
  return [pattern, content = string_field(json, "content", where)](Tokens& tokens) {
    std::vector<Match> matches;
    for (std::string& token : tokens) {
      matches.clear();
      pattern.find(token, 0, token.size(), matches);
      std::string out;
      for (const Match& m : matches) out += m.is_match ? content : token.substr(m.begin, m.end - m.begin);
      token = std::move(out);
    }
  };
}

void fuse(Tokens& tokens) {
  std::string all;
  for (const std::string& token : tokens) all += token;
  tokens = {std::move(all)};
}

Decoder make_strip(const Json& json, const std::string& where) {
  const std::string content = string_field(json, "content", where);
  const auto start = json.value("start", int64_t{0}), stop = json.value("stop", int64_t{0});
  return [=](Tokens& tokens) {
    for (std::string& token : tokens) {
      size_t begin = 0, end = token.size();
      for (int64_t i = 0; i < start && starts_with(std::string_view(token).substr(begin), content); ++i)
        begin += content.size();
      for (int64_t i = 0; i < stop && end >= begin + content.size() &&
                          token.compare(end - content.size(), content.size(), content) == 0;
           ++i)
        end -= content.size();
      token = token.substr(begin, end - begin);
    }
  };
}

int parse_byte_token(const std::string& token) {
  if (token.size() != 6 || !starts_with(token, "<0x") || token[5] != '>') return -1;
  int value = 0;
  for (int i = 3; i < 5; ++i) {
    const char c = token[i];
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                             : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

void byte_fallback(Tokens& tokens) {
  Tokens out;
  std::string bytes;
  const auto flush = [&] {
    if (bytes.empty()) return;
    if (utf8::find_invalid(bytes) == std::string_view::npos)
      out.push_back(bytes);
    else
      for (size_t i = 0; i < bytes.size(); ++i) out.push_back("\xEF\xBF\xBD");
    bytes.clear();
  };
  for (std::string& token : tokens) {
    if (const int b = parse_byte_token(token); b >= 0) {
      bytes += static_cast<char>(b);
    } else {
      flush();
      out.push_back(std::move(token));
    }
  }
  flush();
  tokens = std::move(out);
}

Decoder make_ctc(const Json& json, const std::string&) {
  return [pad = json.value("pad_token", "<pad>"), delimiter = json.value("word_delimiter_token", "|"),
          cleanup = json.value("cleanup", true)](Tokens& tokens) {
    Tokens out;
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0 && tokens[i] == tokens[i - 1]) continue;
      std::string token = replace_all(tokens[i], pad, "");
      if (cleanup) token = replace_all(clean_up_pieces(std::move(token)), delimiter, " ");
      if (!token.empty()) out.push_back(std::move(token));
    }
    tokens = std::move(out);
  };
}

Decoder make_sequence(const Json& json, const std::string& where) {
  std::vector<Decoder> parts;
  for (const Json& part : array_field(json, "decoders", where)) parts.push_back(make_decoder(part, where));
  return [parts](Tokens& tokens) {
    for (const Decoder& part : parts)
      if (part) part(tokens);
  };
}

using Make = Decoder (*)(const Json&, const std::string&);

const std::vector<std::pair<std::string, Make>>& registry() {
  static const std::vector<std::pair<std::string, Make>> table = {
      {"BPEDecoder", make_bpe},
      {"ByteLevel", [](const Json&, const std::string&) -> Decoder { return byte_level; }},
      {"WordPiece", make_wordpiece},
      {"Metaspace", make_metaspace},
      {"Replace", make_replace},
      {"Fuse", [](const Json&, const std::string&) -> Decoder { return fuse; }},
      {"Strip", make_strip},
      {"ByteFallback", [](const Json&, const std::string&) -> Decoder { return byte_fallback; }},
      {"CTC", make_ctc},
      {"Sequence", make_sequence},
  };
  return table;
}

}  // namespace

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  if (from.empty() || text.find(from) == std::string::npos) return text;
  std::string out;
  size_t done = 0;
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, done)) {
    out.append(text, done, at - done);
    out += to;
    done = at + from.size();
  }
  return out.append(text, done);
}

std::string clean_up_pieces(std::string text) {
  static constexpr std::pair<const char*, const char*> kRules[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},    {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
  };
  for (const auto& [from, to] : kRules) text = replace_all(std::move(text), from, to);
  return text;
}

Decoder make_decoder(const Json& json, const std::string& where) {
  if (json.is_null()) return nullptr;
  return make_component(registry(), json, json.contains("decoders") ? "Sequence" : "", "decoder", where);
}

}  // namespace graft::text
