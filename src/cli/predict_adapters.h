// graft predict --adapter NAME=DIR: the predictions of several adapters over one base model.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "cli/options.h"
#include "graft/pipeline.h"

namespace graft::cli {

struct AdaptersToPredict {
  std::filesystem::path base;
  std::string base_name;              // as it was given
  std::vector<std::string> adapters;  // NAME=DIR
  std::string input, output;
  DatasetOptions columns;
  PipelineOptions pipeline;
  bool all_scores = false;
};

// For each text a line {"adapter", "label", "score"} of each adapter, in the order given. Throws UsageError
// for an adapter in another form and for a name that is given twice.
void predict_with_adapters(const AdaptersToPredict& what);

}  // namespace graft::cli
