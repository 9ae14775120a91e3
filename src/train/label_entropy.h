// Whether a classifier learned more than how often each label occurs.
#pragma once
#include <optional>

#include "tasks/task.h"
#include "train/parts.h"
#include "train/train_state.h"

namespace graft::train {

// The entropy of the labels in nats: the least loss of a model that ignores its input. Nothing for a loss
// that is no plain cross entropy over classes (weights, smoothing, focal loss, R-Drop), and without labels.
std::optional<double> label_entropy(const tasks::Task& task, const tasks::Features& train);

// Warns at the end of a run whose loss stayed there. Rank 0 alone says it.
void explain_nothing_learned(const Trainer::Parts& parts, const TrainState& state);

}  // namespace graft::train
