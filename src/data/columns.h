// Which columns of a file hold the text, its pair and the label.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "graft/dataset.h"

namespace graft::data {

struct Columns {
  static constexpr size_t kNone = static_cast<size_t>(-1);
  size_t text = kNone, pair = kNone, label = kNone;
  size_t target = kNone;          // text to text
  std::vector<size_t> negatives;  // tuples of texts
};

// Columns named by `options`, else the usual names (run_glue's task_to_keys and those of common data sets).
// Throws Error with `path`, the existing columns and the nearest name. `separator` is that of the file (0 =
// none), for the hint about a header without it.
Columns choose_columns(const std::vector<std::string>& columns, const DatasetOptions& options,
                       const std::string& path, char separator = 0);

// The same for tuples of texts: `label` is the score.
Columns choose_tuple_columns(const std::vector<std::string>& columns, const DatasetOptions& options,
                             const std::string& path);

// The usual column of the second text that goes with the text column `text`, among `columns`, or "".
std::string usual_pair_column(const std::string& text, const std::vector<std::string>& columns);

// The usual label column among `columns`, or "".
std::string usual_label_column(const std::vector<std::string>& columns);

}  // namespace graft::data
