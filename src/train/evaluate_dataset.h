// A fine-tuned model scored on labelled data.
#pragma once
#include <string>

#include "graft/dataset.h"
#include "graft/model.h"
#include "graft/tokenizer.h"
#include "graft/trainer.h"

namespace graft::train {

// The metrics of evaluation, with a prefix ("eval_", "test_"). max_seq_length 0 = the length of training,
// from the folder of the model.
LogEntry evaluate_dataset(Model& model, const Tokenizer& tokenizer, const Dataset& dataset,
                          int64_t max_seq_length, int64_t batch_size, const std::string& prefix);

}  // namespace graft::train
