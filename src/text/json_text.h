// Writing JSON text directly, for vocabularies that are too large for a tree of values.
#pragma once
#include <fmt/format.h>

#include <string>
#include <string_view>

#include "text/model.h"

namespace graft::text {

// Appends `text` (valid UTF-8) as a JSON string.
inline void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    const auto b = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (b < 0x20) {
      out += c == '\n' ? "\\n" : c == '\t' ? "\\t" : c == '\r' ? "\\r" : fmt::format("\\u{:04x}", b);
    } else {
      out += c;
    }
  }
  out += '"';
}

// {"token":0,...} of tokens in the order of their ids.
template <class Tokens>
void append_json_vocab(std::string& out, const Tokens& tokens) {
  out += '{';
  int32_t id = 0;
  for (const auto& token : tokens) {
    if (id) out += ',';
    append_json_string(out, token);
    out += fmt::format(FMT_STRING(":{}"), id++);
  }
  out += '}';
}

}  // namespace graft::text
