// The version of graft, that of project() in CMakeLists.txt.
#pragma once

namespace graft {

inline constexpr const char* kVersion = "0.1.0";

}  // namespace graft
