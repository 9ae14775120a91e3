#include "train/saved_arguments.h"

#include <algorithm>

#include "base/error.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/log.h"
#include "engine/device.h"
#include "models/state.h"
#include "tasks/task_table.h"
#include "train/arguments.h"
#include "train/sequence_length.h"

namespace graft::train {

TrainingArguments saved_arguments(const std::filesystem::path& folder) {
  TrainingArguments saved;
  const std::filesystem::path file = folder / "training_args.json";
  if (!path_exists(file)) return saved;
  const Json json = read_json(file);
  const auto read = [&](const char* key, const auto& use) {
    const auto it = json.find(key);
    if (it == json.end() || it->is_null()) return;
    try {
      use(it->is_string() ? it->get<std::string>() : it->dump());
      check(saved);
    } catch (const UsageError& e) {
      fail_with("correct the value, or remove the file to use the defaults", "{}: \"{}\": {}", file.string(),
                key, e.what());
    }
  };
  if (!json.is_object()) fail("{}: an object was expected", file.string());
  std::vector<const char*> keys = {"bf16", "max_seq_length", "seed"};
  for (const tasks::TaskEntry* task : tasks::task_table())
    keys.insert(keys.end(), task->own_options.begin(), task->own_options.end());
  for (const char* key : keys) read(key, [&](const std::string& value) { set_argument(saved, key, value); });
  return saved;
}

tasks::QuestionSettings question_settings(const TrainingArguments& a) {
  tasks::QuestionSettings settings;
  settings.max_seq_length = static_cast<int32_t>(a.max_seq_length);
  settings.doc_stride = static_cast<int32_t>(a.doc_stride);
  settings.n_best_size = static_cast<int32_t>(a.n_best_size);
  settings.max_answer_length = static_cast<int32_t>(a.max_answer_length);
  settings.version_2_with_negative = a.version_2_with_negative;
  settings.null_score_diff_threshold = a.null_score_diff_threshold;
  settings.language = a.language;
  settings.drop_bad_answers = a.drop_bad_answers;
  return settings;
}

int64_t inference_length(int64_t asked, const TrainingArguments& saved, const Model& model,
                         const Tokenizer& tokenizer) {
  if (asked < 0) throw UsageError(fmt::format("max_seq_length is {}; it must not be negative", asked));
  const int64_t length =
      asked > 0 ? asked : smaller_limit(length_limit(model, tokenizer), saved.max_seq_length);
  if (length > 0) check_length(length, model, tokenizer);
  return length;
}

Precision training_precision(std::optional<bool> asked) {
  if (asked) return {*asked, *asked ? "--bf16 true" : "--bf16 false"};
  const engine::Device& device = engine::default_device();
  if (device.bf16_is_faster())
    return {true, "default on this CPU, which is faster in bf16; --bf16 false computes in fp32"};
  if (device.has_bf16()) return {false, "default on this CPU, which is not faster in bf16"};
  return {false, "default on this CPU, which has no bf16 matrix instructions"};
}

Precision inference_precision(std::optional<bool> asked, const TrainingArguments& saved) {
  if (asked) return training_precision(asked);
  if (saved.bf16) return {*saved.bf16, "as in training"};
  return {false, "default: this folder was not trained by graft"};
}

void use_precision(const Model& model, bool bf16) {
  model.state().bf16 = bf16;
  if (!bf16 || model.state().parameters.device().has_bf16()) return;
  log_warning(
      "precision: bf16; this CPU has no bf16 matrix instructions, so operands are rounded to bf16 and "
      "multiplied in fp32, which is slower than fp32 itself");
}

}  // namespace graft::train
