// A number of a JSON text as the reference's reader (serde_json without its feature float_roundtrip) reads
// it.
#pragma once
#include <optional>
#include <string_view>

namespace graft::text {

// `number`: a valid JSON number. Up to 64 bits of its digits are taken as an integer, which is multiplied or
// divided by a power of ten: two roundings, so that the result may be one unit in the last place off the
// nearest double. Sums of such scores decide between segmentations (unigram.cpp). nullopt: out of range.
std::optional<double> parse_serde_number(std::string_view number);

}  // namespace graft::text
