// A number of a JSON text as the reference's reader (serde_json without its feature float_roundtrip) reads
// it.
#pragma once
#include <optional>
#include <string_view>

namespace graft::text {

// `number`: a valid JSON number. The digits that fit into 64 bits are read as an integer, which is multiplied
// or divided by a power of ten. These two roundings make the result differ from the nearest double by up to
// one unit in the last place. Sums of such scores decide between segmentations (unigram.cpp). nullopt: out of
// range.
std::optional<double> parse_serde_number(std::string_view number);

}  // namespace graft::text
