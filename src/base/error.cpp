#include "base/error.h"

#include <exception>
#include <new>
#include <string_view>
#include <typeinfo>

namespace graft {

void throw_error(std::string hint, fmt::string_view format, fmt::format_args args) {
  throw Error(fmt::vformat(format, args), std::move(hint));
}

void rethrow_as_error() {
  try {
    throw;
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw Error("out of memory", "use a smaller batch, shorter texts (max_seq_length) or a smaller model");
  } catch (const std::exception& e) {
    // Mangled names of types in namespace std begin so (Itanium C++ ABI).
    const std::string_view type = typeid(e).name();
    if (type.starts_with("St") || type.starts_with("NSt")) throw Error(e.what());
    throw;
  }
}

}  // namespace graft
