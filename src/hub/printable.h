// Escapes names from untrusted files for messages.
#pragma once
#include <string>
#include <string_view>

namespace graft::hub {

// Control characters and bytes beyond ASCII become \xNN; names longer than 120 bytes are cut.
inline std::string printable(std::string_view text) {
  constexpr size_t kLongest = 120;
  constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (const char c : text.substr(0, kLongest)) {
    const auto u = static_cast<unsigned char>(c);
    if (u >= 0x20 && u < 0x7F) {
      out += c;
    } else {
      out += {'\\', 'x', digits[u >> 4], digits[u & 15]};
    }
  }
  if (text.size() > kLongest) out += "...";
  return out;
}

}  // namespace graft::hub
