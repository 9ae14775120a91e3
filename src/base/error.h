// Short forms for throwing graft::Error with formatted text.
#pragma once
#include <fmt/core.h>

#include <string>
#include <utility>

#include "graft/error.h"

namespace graft {

// Throws Error. Not inline, so that the many calls below compile to little code.
[[noreturn]] void throw_error(std::string hint, fmt::string_view format, fmt::format_args args);

// fail("{}: line {} has {} columns", ...): throws Error with the formatted text.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw_error({}, format, fmt::make_format_args(args...));
}

// fail_with(hint, format, args...): like fail, with a hint.
template <class... Args>
[[noreturn]] void fail_with(std::string hint, fmt::format_string<Args...> format, Args&&... args) {
  throw_error(std::move(hint), format, fmt::make_format_args(args...));
}

// For a catch (...) of a public function: converts exceptions of the standard library (out of memory, no
// permission) to Error and rethrows. An exception of a user's callback is rethrown unchanged.
[[noreturn]] void rethrow_as_error();

}  // namespace graft
