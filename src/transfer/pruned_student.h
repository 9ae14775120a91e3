// A student that is its teacher with fewer layers, fewer pieces, and new pieces of other languages.
#pragma once
#include <filesystem>

#include "transfer/distill.h"
#include "transfer/parallel_text.h"

namespace graft::transfer {

// Writes the student's folder. New pieces start as the mean of the teacher's pieces of their text; with
// options.align as the mean of the teacher's pieces for which they stand in `pairs`, by their probabilities.
void make_pruned_student(const DistillOptions& options, const ParallelText& pairs,
                         const std::filesystem::path& folder);

}  // namespace graft::transfer
