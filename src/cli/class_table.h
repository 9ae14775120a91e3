// The scores of entity types, or of classes of words, as a table.
#pragma once
#include "graft/trainer.h"

namespace graft::cli {

// Takes NAME_precision, NAME_recall, NAME_f1 and NAME_number of each type out of `entry` and prints them to
// stdout, a type a line. Prints nothing where there are none. `prefix`: of the names ("eval_").
void print_class_table(LogEntry& entry, const std::string& prefix);

}  // namespace graft::cli
