// A task adapter stacked on a frozen language adapter (MAD-X, Pfeiffer et al. 2020): in each layer the task
// adapter reads the output of the language adapter, as in AdapterHub's Stack. The language adapter is a
// folder of its own, so that another language takes its place at test time.
#pragma once
#include <filesystem>

#include "models/adapter_folder.h"

namespace graft::models {

// Puts the bottlenecks and the invertible adapter of `folder` into a model with the weights of the folder
// `base`, below the adapters that it gets later: they are neither trained nor saved. Throws Error for a
// folder that holds no language adapter, and for one of another base.
void load_language_adapter(State& state, const std::filesystem::path& folder,
                           const std::filesystem::path& base);
// The same before load_adapter: the language adapter that `adapter` names, or `asked` in its place; nothing
// where there is none. Throws Error where adapters cannot be stacked on one, and for the one named if its
// values have changed since.
void load_language_below(State& state, const AdapterFolder& adapter, const std::filesystem::path& asked);

// Writes into the files of the adapter which language adapter is below it.
void name_language(AdapterToWrite& out, const State& state);
// Throws Error where base_model.json of a run names another language adapter than the model has.
void check_same_language(const State& state, const Json& base_model, const std::filesystem::path& folder);

}  // namespace graft::models
