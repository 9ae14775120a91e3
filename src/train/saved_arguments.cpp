#include "train/saved_arguments.h"

#include <algorithm>

#include "base/folder.h"
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
  if (path_exists(folder / "training_args.json")) {
    const Json json = read_json(folder / "training_args.json");
    if (const auto it = json.find("max_seq_length");
        it != json.end() && it->is_number_integer() && it->get<int64_t>() > 0) {
      limit = std::min(limit, it->get<int64_t>());
    }
  }
  return limit;
}

Precision training_precision(std::optional<bool> asked) {
  if (asked) return {*asked, *asked ? "--bf16 true" : "--bf16 false"};
  engine::cpu_kernels();  // fixes the instruction set
  if (engine::cpu::has_bf16_gemm())
    return {true, "this CPU has bf16 matrix instructions; --bf16 false is exact"};
  return {false, "this CPU has no bf16 matrix instructions"};
}

Precision saved_precision(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "training_args.json";
  if (!path_exists(file)) return {false, "no saved choice of graft's"};
  const Json json = read_json(file);
  const auto it = json.find("bf16");
  if (it == json.end() || !it->is_boolean()) return {false, "no saved choice of graft's"};
  return {it->get<bool>(), "as in training"};
}

void use_precision(const Model& model, bool bf16) {
  model.state().bf16 = bf16;
  if (!bf16) return;
  engine::cpu_kernels();  // fixes the instruction set
  if (engine::cpu::has_bf16_gemm()) return;
  log_warning(
      "precision: bf16; this CPU has no bf16 matrix instructions, so operands are rounded to bf16 and "
      "multiplied in fp32, which is slower than fp32 itself");
}

}  // namespace graft::train
