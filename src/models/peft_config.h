// adapter_config.json: how the adapters of a model were made, as peft 0.21 or, for bottlenecks, AdapterHub's
// library (bottleneck_config.h) reads and writes it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "models/bottleneck_config.h"
#include "models/prompt_config.h"

namespace graft::models {

enum class PeftType : uint8_t { lora, ia3, bottleneck, prompt_tuning, prefix_tuning };

struct PeftConfig {
  PeftType peft_type = PeftType::lora;
  int64_t r = 8;
  double lora_alpha = 8, lora_dropout = 0;
  bool use_rslora = false, use_dora = false;
  std::string init_lora_weights = "true";   // true, gaussian, pissa
  std::vector<std::string> target_modules;  // endings of names, patterns with *, all-linear; none: by family
  std::vector<std::string> feedforward_modules;  // (IA)3: those whose input is scaled; none: by family
  std::vector<std::string> modules_to_save;      // endings of names
  std::vector<int64_t> layers_to_transform;      // none: all
  // By the ending of a module's name, where they differ from r and lora_alpha.
  std::map<std::string, double> rank_pattern, alpha_pattern;
  bool fan_in_fan_out = false;  // the checkpoint holds the matrices as [in, out]
  std::string task_type;        // SEQ_CLS, ...; "" = null
  std::string base_model_name_or_path, revision;
  // Of PeftType::bottleneck, and of PeftType::prompt_tuning and prefix_tuning; then nothing above task_type
  // is in use, but for modules_to_save.
  std::optional<BottleneckConfig> bottleneck{};
  std::optional<PromptConfig> prompt{};

  // The key of the file that names the base model.
  const char* base_key() const { return bottleneck ? "model_name" : "base_model_name_or_path"; }

  // Throws Error naming file and key, for another peft_type too.
  static PeftConfig from_file(const std::filesystem::path& file);
  Json json() const;  // of peft's
  int64_t rank(const std::string& module) const;
  // The factor of a product of rank `rank` in a module.
  double scaling(const std::string& module, int64_t rank) const;
};

// Whether `target` selects the module: its name, an ending of it after a dot, or a pattern with *.
bool selects(const std::string& target, const std::string& module);

// What peft adapts where it is not told (peft/utils/constants.py), and what graft does for families that are
// not there. Empty: the family has no default.
struct PeftDefaults {
  const char* model_type;
  std::vector<std::string> lora, ia3, ia3_feedforward;
};
const PeftDefaults* find_peft_defaults(const std::string& model_type);

// peft's task_type of one of graft's tasks and back; "" for none.
std::string peft_task_type(const std::string& task);
std::string task_of_peft(const std::string& task_type);

}  // namespace graft::models
