// --optim and --optim_args.
#pragma once
#include <string>

#include "graft/trainer.h"
#include "train/elementwise_optimizer.h"
#include "train/muon.h"

namespace graft::train {

enum class Optim : uint8_t { elementwise, adamw_8bit, adafactor, muon };

struct OptimChoice {
  Optim optim = Optim::elementwise;
  UpdateRule rule{};  // of elementwise, adamw_8bit, and of what muon leaves to AdamW
  MuonOptions muon{};
  bool is_adam = true;  // reads the adam_ arguments
};

// All names, separated by ", ".
std::string optim_names();

// Throws UsageError for an unknown or refused name, with the nearest, and for settings that the optimizer
// lacks, with the known ones.
OptimChoice choose_optim(const TrainingArguments& arguments);
inline bool is_adamw(const TrainingArguments& arguments) {
  const OptimChoice c = choose_optim(arguments);
  return c.optim == Optim::elementwise && c.rule.kind == engine::UpdateKind::adamw;
}

}  // namespace graft::train
