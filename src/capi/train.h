// graft_train of the C interface.
#pragma once
#include <string>

#include "graft/graft.h"

namespace graft {

// Runs a training from the options of `graft train` as a JSON object. Throws Error.
void train_from_json(const std::string& options, const graft_train_callbacks& callbacks);

}  // namespace graft
