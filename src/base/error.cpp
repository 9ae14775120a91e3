#include "base/error.h"

namespace graft {

void throw_error(std::string hint, fmt::string_view format, fmt::format_args args) {
  throw Error(fmt::vformat(format, args), std::move(hint));
}

}  // namespace graft
