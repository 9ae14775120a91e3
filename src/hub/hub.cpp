#include "graft/hub.h"

#include "hub/resolve.h"

namespace graft {

std::filesystem::path resolve_model(const std::string& name_or_dir) {
  return hub::resolve_model(name_or_dir, {});
}

}  // namespace graft
