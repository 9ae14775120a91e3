// --do_predict of `graft train`.
#pragma once
#include <string>

#include "graft/dataset.h"

namespace graft::cli {

// Predicts for the rows of a file with the model that a training saved, as `graft predict` does, into
// predict_results.jsonl of its folder.
void predict_test_file(const std::string& output_dir, const std::string& test_file,
                       const DatasetOptions& columns);

}  // namespace graft::cli
