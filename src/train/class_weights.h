// --class_weights.
#pragma once
#include <string>
#include <vector>

#include "graft/model.h"
#include "tasks/task.h"

namespace graft::train {

// The weight of each class in the loss of training:
//   balanced                 examples / (classes * examples of the class), as scikit-learn's
//   effective_number[:BETA]  (1 - BETA) / (1 - BETA^examples of the class), of mean 1 over the classes (Cui
//   et
//                            al. 2019, Class-Balanced Loss Based on Effective Number of Samples); 0.999
//   a list                   numbers, separated by commas, in the order of the label ids
//   a file                   json: an object with the weight of each label, or a list
// Throws UsageError with the place for anything else.
std::vector<float> class_weights(const std::string& text, const Model& model, const tasks::Features& train);

}  // namespace graft::train
