#include "train/saved_arguments.h"

#include <algorithm>

#include "base/json.h"

namespace graft::train {

int64_t saved_max_seq_length(const std::filesystem::path& folder, const Model& model, const Tokenizer& tokenizer) {
  int64_t limit = model.max_positions();
  if (tokenizer.model_max_length() > 0) limit = std::min<int64_t>(limit, tokenizer.model_max_length());
  if (std::filesystem::exists(folder / "training_args.json")) {
    const Json json = read_json(folder / "training_args.json");
    if (const auto it = json.find("max_seq_length"); it != json.end() && it->is_number_integer() && it->get<int64_t>() > 0) {
      limit = std::min(limit, it->get<int64_t>());
    }
  }
  return limit;
}

}  // namespace graft::train
