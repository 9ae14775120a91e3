// SHA-256 of a file and of bytes in memory, by OpenSSL.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

namespace graft::hub {

// 64 lower-case hexadecimal digits.
std::string sha256_of_file(const std::filesystem::path& file);
std::string sha256_of(std::string_view bytes);

}  // namespace graft::hub
