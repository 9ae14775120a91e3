// Rows of a Dataset that stay in their file (DatasetOptions::keep_in_file).
#pragma once
#include "data/label_tally.h"

namespace graft::data {

struct FileRows {
  std::filesystem::path path;
  DatasetOptions options;
  LabelTally tally;  // of all labels, finished
};

}  // namespace graft::data
