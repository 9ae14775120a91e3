// From labels as written in a file to the ids of a head, and the problem_type that follows.
#pragma once
#include <string>
#include <unordered_map>
#include <vector>

#include "graft/dataset.h"

namespace graft::data {

// The labels of a checkpoint.
struct CheckpointLabels {
  std::vector<std::string> names;  // id2label in the order of ids; empty = none
  bool has_head = false;           // its head has names.size() trained outputs, which are kept
  std::string problem_type;        // of config.json; "" = inferred
};

// LABEL_0, LABEL_1, ...: the default names of transformers.
std::vector<std::string> default_label_names(int num_labels);

// As transformers' heads infer it: one output is regression; integer (or named) labels are
// single_label_classification; lists are multi_label_classification.
std::string infer_problem_type(LabelKind kind, int num_labels);

class LabelMap {
 public:
  // For fine-tuning on `train`. With has_head, labels must be names of the head, or integers in its range;
  // otherwise Error (hint: --ignore_mismatched_sizes, which sets has_head = false). Without it the ids are
  // new: names are sorted as Python sorts them; integers are ids and must be 0..N-1. If the checkpoint's
  // names cover all labels, their order is kept. Logs the source of the ids and of the problem_type.
  static LabelMap for_training(const Dataset& train, const CheckpointLabels& checkpoint = {});
  // For training with names and a problem_type ("" = inferred) that were chosen before. check() validates the
  // labels.
  static LabelMap chosen(const Dataset& train, std::vector<std::string> names,
                         const std::string& problem_type);
  // For evaluation and prediction with a trained head. check() and id() validate the labels.
  static LabelMap from_checkpoint(const CheckpointLabels& checkpoint, LabelKind kind = LabelKind::none);

  int num_labels() const { return static_cast<int>(names_.size()); }
  const std::vector<std::string>& names() const { return names_; }
  const std::string& problem_type() const { return problem_type_; }

  // The id of the example's one label. All four throw Error with file and line for a missing label, and for
  // an unknown one with the known labels and the nearest.
  int id(const Example& example, const Dataset& dataset) const;
  // The id of a label on a line of the data set: of tags, of which an example has many.
  int id_of(const std::string& label, int64_t line, const Dataset& dataset) const;
  // 1 for each label that applies, else 0: [num_labels].
  std::vector<float> multi_hot(const Example& example, const Dataset& dataset) const;
  // The number of a regression label.
  float score(const Example& example, const Dataset& dataset) const;

  // Throws Error for the first example whose label does not fit this map or its problem_type. Unlabelled
  // examples are accepted.
  void check(const Dataset& dataset) const;

 private:
  // Where the names come from. Determines the hint for an unknown label.
  enum class Source : uint8_t { training_data, head, evaluation };
  LabelMap(std::vector<std::string> names, std::string problem_type, Source source);
  static LabelMap for_regression(const Dataset& train, const CheckpointLabels& checkpoint);
  static LabelMap for_classes(const Dataset& train, const CheckpointLabels& checkpoint);
  const char* unknown_hint() const;
  // The id of `label`, or -1.
  int find(const std::string& label, LabelKind item_kind) const;
  int resolve(const std::string& label, const Example& example, const Dataset& dataset) const;
  bool covers(const Dataset& dataset) const;
  void check_kind(const Dataset& dataset) const;

  std::vector<std::string> names_;
  std::unordered_map<std::string, int> ids_;
  std::string problem_type_;
  Source source_;
  bool default_names_ = false;
  bool integer_names_ = false;  // a name reads as an integer, so integers are names and not ids
};

}  // namespace graft::data
