// SHA-256 of a file, by OpenSSL.
#pragma once
#include <filesystem>
#include <string>

namespace graft::hub {

// 64 lower-case hexadecimal digits.
std::string sha256_of_file(const std::filesystem::path& file);

}  // namespace graft::hub
