// Which parameters are trained, and how fast: freezing, layer-wise learning rates, layers that start anew.
#pragma once
#include "graft/model.h"
#include "graft/trainer.h"

namespace graft::train {

// Applies --freeze, --freeze_layers, --layerwise_lr_decay and --reinit_layers to the model's parameters and
// logs the result. All other parameters are trained at the learning rate itself. Throws UsageError for a
// pattern without a match, for more layers than there are, and if nothing is left to train.
void choose_parameters(Model& model, const TrainingArguments& arguments);

}  // namespace graft::train
