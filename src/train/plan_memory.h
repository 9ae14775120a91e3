// The memory of a step, planned before the first one.
#pragma once
#include "data/sampler.h"
#include "train/parts.h"

namespace graft::train {

// Plans the memory for the largest batches of the run, and the copy of a save in the background, and logs its
// size. Throws Error for a batch that does not fit.
void plan_memory(Trainer::Parts& parts, data::Sampler& sampler, uint64_t copy_for_saves = 0);
// The n longest examples, or all; of equal ones the earlier.
std::vector<int64_t> longest_examples(const tasks::Features& features, int64_t n);
// The batches of a step, cut into pieces of Trainer::Parts::examples_in_a_pass a rank.
std::vector<std::vector<int64_t>> pieces(std::vector<std::vector<int64_t>> batches,
                                         const Trainer::Parts& parts);
// Provides the memory of a training batch. Logs growth, for example for a batch with more masked tokens.
void provide_memory(Trainer::Parts& parts, const data::RaggedBatch& batch);

}  // namespace graft::train
