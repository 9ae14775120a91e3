#include "graft/hub.h"

#include "base/error.h"
#include "hub/resolve.h"

namespace graft {

std::filesystem::path resolve_model(const std::string& name_or_dir) try {
  return hub::resolve_model(name_or_dir, {});
} catch (...) {
  rethrow_as_error();
}

}  // namespace graft
