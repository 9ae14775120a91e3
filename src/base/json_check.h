// Checks that a text is JSON, without building the value: the memory does not depend on the text's size.
#pragma once
#include <string_view>

namespace graft {

// Throws the JsonParseError that Json::parse would throw.
void check_json(std::string_view text);

}  // namespace graft
