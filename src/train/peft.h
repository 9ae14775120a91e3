// Parameter-efficient tuning: --peft_type and the options that belong to it.
#pragma once
#include "graft/model.h"
#include "graft/tokenizer.h"
#include "graft/trainer.h"
#include "models/state.h"

namespace graft::train {

// Throws UsageError for an unknown method, for options of another one, and for values that exclude each
// other.
void check_peft(const TrainingArguments& arguments);

// Whether `parameter` is trained: with adapters these and what is saved with them; biases, the head and what
// the checkpoint did not have with bitfit; the last two with linear_probing; else everything.
bool is_chosen(const models::State& state, const engine::Parameter& parameter,
               const TrainingArguments& arguments);

// Gives the model the adapters that the arguments ask for. A model that has adapters keeps them, and they are
// trained further: then the arguments must ask for the same ones, or for none. `tokenizer`: of the text that
// virtual tokens start from.
void add_adapter(Model& model, const TrainingArguments& arguments, const Tokenizer& tokenizer);
// How many virtual tokens add_adapter will put before each text, beside those that the model has.
int64_t new_virtual_tokens(const Model& model, const TrainingArguments& arguments);

}  // namespace graft::train
