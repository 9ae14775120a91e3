// Models of one architecture made into one: averages of runs (model soups, Wortsman et al. 2022),
// interpolation (WiSE-FT, Wortsman et al. 2022) and task arithmetic (Ilharco et al. 2023).
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "graft/model.h"

namespace graft::transfer {

struct MergeOptions {
  std::vector<std::filesystem::path> models;
  std::string task;                 // "" = that of the first model's head
  std::string method = "average";   // average, linear or task_arithmetic
  std::vector<double> weights;      // linear: one a model, their sum is 1
  std::filesystem::path base;       // task_arithmetic
  std::vector<double> scale = {1};  // one for all models, or one a model
};

class Merger {
 public:
  // Loads and compares the models. Throws Error naming the first difference that cannot be merged: an
  // architecture, a setting, a label, a piece of the vocabulary, a weight that is not finite.
  explicit Merger(const MergeOptions& options);
  // Sets the weights of model() to sum c[i] * model[i], and to the base with what is left of 1. A factor of 1
  // beside zeros gives the bits of its model.
  void set(const std::vector<double>& factors);
  // What the options ask for.
  const std::vector<double>& factors() const { return factors_; }
  const Model& model() const { return merged_; }
  // The merged model with the tokenizer and the settings of the first one.
  void save(const std::filesystem::path& output_dir) const;

 private:
  void check(const Model& other, const std::filesystem::path& folder) const;
  void load_base(const std::filesystem::path& folder);

  std::filesystem::path first_;
  std::vector<Model> models_;  // the base last, where there is one
  bool has_base_ = false;
  std::vector<double> factors_;
  Model merged_;
};

}  // namespace graft::transfer
