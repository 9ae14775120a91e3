// The student as its training finds it: a folder that is given, or OUTPUT_DIR/start.
#pragma once
#include <filesystem>

#include "transfer/distill.h"

namespace graft::transfer {

struct StartStudent {
  std::filesystem::path folder;
  bool is_new = false;  // it was written now
};

// A resumed run finds the student that it has made. Throws Error where that one was made with other options
// and the run has a checkpoint; without a checkpoint it is made again.
StartStudent make_student(const DistillOptions& options, const Teacher& teacher, const ParallelText& pairs);

// A head that the student's folder lacks gets the labels of the teacher.
Model load_student(const std::filesystem::path& folder, const Teacher& teacher, uint64_t seed);

}  // namespace graft::transfer
