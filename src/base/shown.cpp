#include "base/shown.h"

#include <fmt/format.h>

#include "base/utf8.h"

namespace graft {
namespace {

// Control characters, and characters without width or that change the direction of the text.
bool is_hidden(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c <= 0xA0) || c == 0xAD || c == 0x61C || c == 0x180E ||
         (c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) ||
         c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFC) || (c >= 0xE0000 && c <= 0xE0FFF);
}

void append_escaped(std::string& out, char32_t c) {
  switch (c) {
    case '\n':
      out += "\\n";
      break;
    case '\r':
      out += "\\r";
      break;
    case '\t':
      out += "\\t";
      break;
    default:
      out += c <= 0xFFFF ? fmt::format("\\u{:04X}", static_cast<uint32_t>(c))
                         : fmt::format("\\U{:08X}", static_cast<uint32_t>(c));
  }
}

std::string escape(std::string_view text, size_t limit, bool ascii_only) {
  std::string out;
  size_t pos = 0;
  for (size_t count = 0; pos < text.size() && count < limit; ++count) {
    char32_t c = 0;
    const int n = utf8::decode(text, pos, c);
    if (n == 0) {
      out += fmt::format("\\x{:02X}", static_cast<unsigned char>(text[pos++]));
      continue;
    }
    if (is_hidden(c) || (ascii_only && c > 0x7F)) {
      append_escaped(out, c);
    } else {
      out.append(text, pos, static_cast<size_t>(n));
    }
    pos += static_cast<size_t>(n);
  }
  if (pos < text.size()) out += fmt::format("... ({} bytes)", text.size());
  return out;
}

}  // namespace

std::string shown(std::string_view text, size_t limit) { return escape(text, limit, false); }
std::string shown_in_ascii(std::string_view text, size_t limit) { return escape(text, limit, true); }

}  // namespace graft
