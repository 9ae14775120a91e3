// Whether a text is JSON, without building the value: memory does not grow with the text.
#pragma once
#include <string_view>

namespace graft {

// Throws the JsonParseError that Json::parse would throw.
void check_json(std::string_view text);

}  // namespace graft
