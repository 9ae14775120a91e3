// The data of a task: what a Trainer trains, evaluates and tests on.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "graft/dataset.h"
#include "graft/tokenizer.h"

namespace graft {

// One of several evaluation sets: its metrics are eval_NAME_loss, eval_NAME_accuracy, ...
struct EvaluationSet {
  std::string name;  // a word of letters, digits and underscores
  Dataset data{};
  std::vector<std::filesystem::path> files{};  // of text
};

// A task reads the fields that it needs: labelled rows (sequence-classification) or files of text
// (masked-lm). A part without data is empty.
struct TaskData {
  Dataset train{}, eval{};
  std::shared_ptr<Tokenizer> tokenizer{};  // the checkpoint's
  Dataset test{};                          // scored once, after training
  std::vector<std::filesystem::path> train_files{}, eval_files{};
  DatasetOptions columns{};                // of text in files that have columns
  std::vector<EvaluationSet> eval_sets{};  // instead of `eval` and `eval_files`

  // Files of text. If `eval_files` is empty and evaluation is requested, a share of the lines is held out for
  // it.
  static TaskData text(std::vector<std::filesystem::path> train_files,
                       std::vector<std::filesystem::path> eval_files, std::shared_ptr<Tokenizer> tokenizer,
                       DatasetOptions columns = {}) {
    TaskData data;
    data.train_files = std::move(train_files);
    data.eval_files = std::move(eval_files);
    data.tokenizer = std::move(tokenizer);
    data.columns = std::move(columns);
    return data;
  }
};

}  // namespace graft
