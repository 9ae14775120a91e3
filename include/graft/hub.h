// Models by name: from disk, from Hugging Face's cache, or from the hub.
#pragma once
#include <filesystem>
#include <string>

namespace graft {

// The folder of a model, for Model, Tokenizer and Pipeline. An existing folder is returned as it is (of a
// sentence-transformers folder: where its transformer is);
// ORG/NAME[@revision] or a legacy name (bert-base-uncased) comes from the cache that Python uses, and is
// downloaded when it is not there. HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, HF_TOKEN and HF_ENDPOINT are
// obeyed. Throws Error saying what to do.
std::filesystem::path resolve_model(const std::string& name_or_dir);

}  // namespace graft
