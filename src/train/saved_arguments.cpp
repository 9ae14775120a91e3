#include "train/saved_arguments.h"

#include <algorithm>

#include "base/json.h"
#include "base/log.h"
#include "engine/cpu/gemm.h"
#include "engine/kernels.h"
#include "models/state.h"

namespace graft::train {

int64_t saved_max_seq_length(const std::filesystem::path& folder, const Model& model,
                             const Tokenizer& tokenizer) {
  int64_t limit = model.max_positions();
  if (tokenizer.model_max_length() > 0) limit = std::min<int64_t>(limit, tokenizer.model_max_length());
  if (std::filesystem::exists(folder / "training_args.json")) {
    const Json json = read_json(folder / "training_args.json");
    if (const auto it = json.find("max_seq_length");
        it != json.end() && it->is_number_integer() && it->get<int64_t>() > 0) {
      limit = std::min(limit, it->get<int64_t>());
    }
  }
  return limit;
}

bool saved_bf16(const std::filesystem::path& folder) {
  if (!std::filesystem::exists(folder / "training_args.json")) return false;
  const Json json = read_json(folder / "training_args.json");
  const auto it = json.find("bf16");
  return it != json.end() && it->is_boolean() && it->get<bool>();
}

void use_precision(const Model& model, bool bf16) {
  model.state().bf16 = bf16;
  if (!bf16) return;
  engine::cpu_kernels();  // fixes the instruction set
  if (engine::cpu::has_bf16_gemm()) {
    log_info("precision: bf16 matrix products (this CPU has bf16 instructions), fp32 for all else");
  } else {
    log_warning(
        "precision: bf16; this CPU has no bf16 instructions, so operands are rounded to bf16 and multiplied "
        "in "
        "fp32, which is slower than --bf16 false");
  }
}

}  // namespace graft::train
