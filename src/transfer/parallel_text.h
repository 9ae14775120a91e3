// Sentences in two languages, of which the first is the one that the teacher reads.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace graft::transfer {

struct ParallelText {
  std::vector<std::string> source, target;  // as many
};

// Each of `files` is a file of two columns, SOURCE TAB TARGET without a header (each also .gz .zst .xz), or
// two files of lines with a comma between them. Pairs with an empty side are left out, with a warning; -1 =
// all pairs. Throws Error naming file and line for a line without its partner, and for a file that is given
// twice.
ParallelText read_parallel(const std::vector<std::string>& files, int64_t max_pairs = -1);

}  // namespace graft::transfer
