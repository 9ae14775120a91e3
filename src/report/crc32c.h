// The checksum of TFRecord files.
#pragma once
#include <cstdint>
#include <string_view>

namespace graft::report {

// CRC-32C (Castagnoli), as in RFC 3720, appendix B.4.
uint32_t crc32c(std::string_view bytes);
// As TFRecord stores it, so that the checksum of data that holds checksums stays useful
// (tensorflow/core/lib/hash/crc32c.h).
uint32_t masked_crc32c(std::string_view bytes);

}  // namespace graft::report
