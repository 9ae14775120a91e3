// trainer_state.json: the state of a run under the reference's names, from which a run continues.
#pragma once
#include "base/json.h"
#include "train/plan.h"
#include "train/train_state.h"

namespace graft::train {

// The keys of transformers' TrainerState, which reads the file. What graft needs beside them is in
// "stateful_callbacks".
Json to_json(const TrainState& state, const StepPlan& plan, const TrainingArguments& arguments);

// Fills all but the optimizer and the tensors of `stateful`. `file` names the json in messages. Throws Error
// for a file that is not one of to_json.
void read_state(const Json& json, const std::string& file, TrainState& state);
// The values of a Stateful in such a file; null if it has none.
const Json* stateful_values(const Json& json, const std::string& key);

}  // namespace graft::train
