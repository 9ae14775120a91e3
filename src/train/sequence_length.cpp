#include "train/sequence_length.h"

#include <algorithm>

#include "base/error.h"
#include "models/state.h"
#include "tasks/task_table.h"

namespace graft::train {

int64_t smaller_limit(int64_t a, int64_t b) {
  if (a <= 0 || b <= 0) return std::max<int64_t>({a, b, 0});
  return std::min(a, b);
}

int64_t length_limit(const Model& model, const Tokenizer& tokenizer) {
  const int64_t own = smaller_limit(model.max_positions(), tokenizer.model_max_length());
  const models::State& state = model.state();
  return state.head->is_bare ? smaller_limit(own, state.config.modules.max_seq_length.value_or(0)) : own;
}

void check_length(int64_t length, int64_t max_positions, int64_t special_tokens) {
  if (max_positions > 0 && length > max_positions) {
    fail_with(fmt::format("use --max_seq_length {} or less", max_positions),
              "--max_seq_length {} is longer than the model's {} positions", length, max_positions);
  }
  if (length <= special_tokens) {
    fail_with(fmt::format("use --max_seq_length {} or more", special_tokens + 1),
              "--max_seq_length {} leaves no token for the text: the tokenizer adds {} special tokens",
              length, special_tokens);
  }
}

void check_length(int64_t length, const Model& model, const Tokenizer& tokenizer) {
  check_length(length, model.max_positions(), static_cast<int64_t>(tokenizer.encode("").input_ids.size()));
}

int64_t default_length(int64_t task_default, int64_t limit) {
  constexpr int64_t kUnlimited = 1024;  // run_mlm's where the tokenizer names no limit
  if (task_default > 0) return smaller_limit(limit, task_default);
  return limit > 0 ? limit : kUnlimited;
}

int32_t training_length(int64_t asked, const Model& model, const Tokenizer& tokenizer,
                        int64_t virtual_tokens) {
  const int64_t positions = model.max_positions(), left = positions > 0 ? positions - virtual_tokens : 0;
  if (positions > 0 && left < 1)
    throw UsageError(fmt::format("{} virtual tokens leave no position for a text: the model has {}",
                                 virtual_tokens, positions),
                     "give fewer virtual tokens");
  const int64_t limit = smaller_limit(length_limit(model, tokenizer), left),
                length = asked > 0 ? asked : default_length(tasks::task_of(model).default_length, limit);
  if (left > 0 && length > left && virtual_tokens > 0)
    throw UsageError(
        fmt::format("--max_seq_length {} and {} virtual tokens are more than the model's {} positions",
                    length, virtual_tokens, positions),
        fmt::format("use --max_seq_length {} or less", left));
  check_length(length, model, tokenizer);
  return static_cast<int32_t>(length);
}

}  // namespace graft::train
