// A fine-tuned model scored on labelled data.
#pragma once
#include <string>

#include "graft/dataset.h"
#include "graft/model.h"
#include "graft/tokenizer.h"
#include "graft/trainer.h"

namespace graft::train {

// The metrics of evaluation with `prefix` ("eval_", "test_") before their names. max_seq_length 0: as the
// folder the model came from was trained.
LogEntry evaluate_dataset(Model& model, const Tokenizer& tokenizer, const Dataset& dataset,
                          int64_t max_seq_length, int64_t batch_size, const std::string& prefix);

}  // namespace graft::train
