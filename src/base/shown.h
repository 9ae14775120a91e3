// Escapes values from files for messages, so that they cannot control or fill the terminal.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace graft {

// `text` with control characters, invisible characters and bytes that are not UTF-8 escaped (\n, \u200B,
// \xFF); after `limit` characters it is cut and its size in bytes is added: "aaa... (1048576 bytes)".
std::string shown(std::string_view text, size_t limit = 60);

// As shown(), with every character outside ASCII escaped: it distinguishes look-alikes ("caf\u00E9",
// "cafe\u0301").
std::string shown_in_ascii(std::string_view text, size_t limit = 60);

}  // namespace graft
