// The texts of a distillation: what the teacher reads, and what the student reads.
#pragma once
#include <string>
#include <vector>

#include "transfer/distill.h"
#include "transfer/parallel_text.h"

namespace graft::transfer {

struct DistillCorpus {
  std::vector<std::string> teacher, teacher_pairs;  // the rows of the targets
  DistillationTexts train, held;                    // of the student; held: for the table at the end
};

// `pairs` may be empty. Of held-out pairs the second sentences are held; the first ones are in no text of the
// training. Throws Error for files without text and for labels that the teacher does not have.
DistillCorpus read_distill_corpus(const DistillOptions& options, const Teacher& teacher,
                                  const ParallelText& pairs);

}  // namespace graft::transfer
