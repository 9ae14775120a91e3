// The metrics of an evaluation by name, before the first one: a misspelt --metric_for_best_model is refused
// before training.
#pragma once
#include <string>
#include <vector>

#include "train/parts.h"

namespace graft::train {

// "eval_loss", "eval_accuracy", ..., as evaluate_sets will name them; nothing without evaluation data.
std::vector<std::string> evaluation_names(const Trainer::Parts& parts);

// "eval_loss" for "", "eval_accuracy" for "accuracy".
std::string metric_of_evaluation(const std::string& metric_for_best_model);

// Throws UsageError with the list and the nearest name if `names` lack the metric that decides.
void check_metric(const std::string& metric_for_best_model, const std::vector<std::string>& names);

// The same where a run follows a metric: the best model, early stopping, reduce_lr_on_plateau.
void check_metric(const Trainer::Parts& parts);

}  // namespace graft::train
