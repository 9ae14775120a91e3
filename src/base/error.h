// Short forms for throwing graft::Error with formatted text.
#pragma once
#include <fmt/format.h>

#include "graft/error.h"

namespace graft {

// fail("{}: line {} has {} columns", ...): throws Error with the formatted text.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

// fail_with(hint, format, args...): as fail, with what to do about it.
template <class... Args>
[[noreturn]] void fail_with(std::string hint, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...), std::move(hint));
}

}  // namespace graft
