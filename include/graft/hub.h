// Models by name: from disk, from Hugging Face's cache, or from the hub.
#pragma once
#include <filesystem>
#include <string>

#include "graft/export.h"

namespace graft {

// The folder of a model, for Model, Tokenizer and Pipeline. An existing folder is returned unchanged; for a
// sentence-transformers folder its transformer's folder is returned. ORG/NAME[@revision] or a legacy name
// (bert-base-uncased) is looked up in the cache that Python uses, and downloaded if missing. HF_HOME,
// HF_HUB_CACHE, HF_HUB_OFFLINE, HF_TOKEN and HF_ENDPOINT apply. Throws Error.
GRAFT_API std::filesystem::path resolve_model(const std::string& name_or_dir);

}  // namespace graft
