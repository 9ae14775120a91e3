// The score of a model on a file.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "graft/trainer.h"

namespace graft::transfer {

class Scorer {
 public:
  // `folder` holds the tokenizer and the settings of training. `language`: whose rules compare answers to
  // questions; "" = that of training. Throws Error for a file that does not fit.
  Scorer(const Model& model, const std::filesystem::path& folder, const std::filesystem::path& test_file,
         DatasetOptions columns, const std::string& language = "");
  ~Scorer();
  // Loss and metrics of the model with the weights that it has now, without a prefix.
  LogEntry evaluate();
  // The metric that compares two models.
  std::string metric() const;

 private:
  std::unique_ptr<Trainer> trainer_;
};

double value_of(const LogEntry& entry, const std::string& name);  // NaN where there is none

}  // namespace graft::transfer
