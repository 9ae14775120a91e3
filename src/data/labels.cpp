#include "data/labels.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "base/nearest.h"
#include "data/label_tally.h"
#include "data/rows.h"

namespace graft::data {
namespace {

constexpr const char* kRegression = "regression";
constexpr const char* kSingle = "single_label_classification";
constexpr const char* kMulti = "multi_label_classification";
constexpr const char* kNewHeadHint =
    "--ignore_mismatched_sizes true starts a new head for the labels of this file";

std::string place(const Dataset& dataset, int64_t line) {
  const std::string origin = dataset.origin().empty() ? "the data" : dataset.origin();
  if (line <= 0) return origin;
  return dataset.label_column().empty()
             ? fmt::format("{}: line {}", origin, line)
             : fmt::format("{}: line {}: column '{}'", origin, line, dataset.label_column());
}

// Ids of a data set's integers: they must be 0..N-1.
std::vector<std::string> names_of_integers(const Dataset& train) {
  std::vector<std::pair<int64_t, int64_t>> values;  // label, line
  for (const LabelCount& c : train.label_counts()) {
    // A count beyond int64 was no integer for the tally either.
    values.emplace_back(parse_integer(c.label).value_or(-1), c.line);
  }
  std::sort(values.begin(), values.end());
  const auto n = static_cast<int64_t>(values.size());
  for (int64_t i = 0; i < n; ++i) {
    const auto [label, line] = values[static_cast<size_t>(i)];
    if (label == i) continue;
    const std::string hint =
        values[0].first == 1 && values.back().first == n
            ? "subtract 1 from each label, or write names instead of integers"
            : "number the labels 0..N-1 without a gap, or write names instead of integers";
    fail_with(hint,
              "{}: integer labels are ids and must be 0..{}: {} does not occur but {} does ({} to {} in all)",
              place(train, line), n - 1, i, label, values.front().first, values.back().first);
  }
  return default_label_names(static_cast<int>(n));
}

std::vector<std::string> names_of_data(const Dataset& train) {
  if (train.label_item_kind() == LabelKind::integers) return names_of_integers(train);
  std::vector<std::string> names;
  for (const LabelCount& c : train.label_counts()) names.push_back(c.label);
  std::sort(names.begin(), names.end());  // bytes of UTF-8 sort as code points, as Python does
  return names;
}

std::string numbered(const std::vector<std::string>& names) {
  std::vector<std::string> out;
  for (size_t i = 0; i < names.size(); ++i) out.push_back(fmt::format("{} = {}", i, names[i]));
  return join_names(out);
}

void check_enough(const Dataset& train, const std::vector<std::string>& names,
                  const std::string& problem_type) {
  if (names.size() > 1 || problem_type == kMulti) return;
  const auto& counts = train.label_counts();
  if (counts.empty())
    fail_with("mark the labels that apply to some rows", "{}: no row has a label", place(train, 0));
  fail_with(
      "a classifier needs at least two labels; for numbers to be predicted pass --problem_type regression",
      "{}: every row has the same label '{}'", place(train, 0), counts[0].label);
}

}  // namespace

std::vector<std::string> default_label_names(int num_labels) {
  std::vector<std::string> names;
  names.reserve(static_cast<size_t>(num_labels));
  for (int i = 0; i < num_labels; ++i) names.push_back(fmt::format("LABEL_{}", i));
  return names;
}

std::string infer_problem_type(LabelKind kind, int num_labels) {
  if (num_labels == 1) return kRegression;
  return kind == LabelKind::lists || kind == LabelKind::floats ? kMulti : kSingle;
}

LabelMap::LabelMap(std::vector<std::string> names, std::string problem_type)
    : names_(std::move(names)), problem_type_(std::move(problem_type)) {
  for (size_t i = 0; i < names_.size(); ++i) {
    if (!ids_.emplace(names_[i], static_cast<int>(i)).second) {
      fail_with("give every label its own name in config.json", "id2label names '{}' twice (ids {} and {})",
                names_[i], ids_[names_[i]], i);
    }
    integer_names_ = integer_names_ || parse_integer(names_[i]).has_value();
  }
  default_names_ = names_ == default_label_names(num_labels());
  if (problem_type_ != kRegression && problem_type_ != kSingle && problem_type_ != kMulti) {
    fail_with(fmt::format("it is one of {}, {}, {}", kRegression, kSingle, kMulti),
              "unknown problem_type '{}'", problem_type_);
  }
}

LabelMap LabelMap::from_checkpoint(const CheckpointLabels& checkpoint, LabelKind kind) {
  const int n = static_cast<int>(checkpoint.names.size());
  return LabelMap(checkpoint.names,
                  checkpoint.problem_type.empty() ? infer_problem_type(kind, n) : checkpoint.problem_type);
}

LabelMap LabelMap::for_training(const Dataset& train, const CheckpointLabels& checkpoint) {
  const LabelKind kind = train.label_kind();
  if (kind == LabelKind::none) {
    fail_with("give a file with a label column", "{}: no labels to train on", place(train, 0));
  }
  const size_t head_size = checkpoint.has_head ? checkpoint.names.size() : 0;
  const std::string& asked = checkpoint.problem_type;
  if (asked == kRegression || (asked.empty() && kind == LabelKind::floats)) {
    if (head_size > 1) {
      fail_with(
          kNewHeadHint,
          "{}: the labels are numbers (regression, one output) but the checkpoint's head has {} labels ({})",
          place(train, 0), head_size, join_names(checkpoint.names));
    }
    LabelMap map(checkpoint.names.size() == 1 ? checkpoint.names : default_label_names(1), kRegression);
    map.check(train);
    return map;
  }
  const auto type_for = [&](size_t n) {
    return asked.empty() ? infer_problem_type(kind, static_cast<int>(n)) : asked;
  };
  const bool named = !checkpoint.names.empty() &&
                     checkpoint.names != default_label_names(static_cast<int>(checkpoint.names.size()));
  if (head_size > 0 || named) {
    LabelMap map(checkpoint.names, type_for(checkpoint.names.size()));
    const bool counts_agree = head_size > 0 || train.label_item_kind() != LabelKind::integers ||
                              train.label_counts().size() == checkpoint.names.size();
    if (map.covers(train) && counts_agree && map.problem_type_ != kRegression) {
      map.check_kind(train);
      if (named) log_info("label ids follow the checkpoint: {}", numbered(map.names_));
      return map;
    }
    if (head_size > 0 && (named || train.label_item_kind() == LabelKind::integers)) map.check(train);
  }
  std::vector<std::string> names = names_of_data(train);
  check_enough(train, names, asked);
  if (head_size > 0) {
    if (names.size() != head_size) {
      fail_with(kNewHeadHint, "{}: {} labels ({}) but the checkpoint's head has {}", place(train, 0),
                names.size(), join_names(names), head_size);
    }
    log_warning("the checkpoint's head does not name its labels; their ids follow the sorted names: {}",
                numbered(names));
  } else if (named) {
    log_warning("the checkpoint's label names ({}) do not fit the labels of {} and are replaced: {}",
                join_names(checkpoint.names), place(train, 0), numbered(names));
  }
  const std::string type = type_for(names.size());
  LabelMap map(std::move(names), type);
  map.check_kind(train);
  return map;
}

bool LabelMap::covers(const Dataset& dataset) const {
  return std::all_of(dataset.label_counts().begin(), dataset.label_counts().end(),
                     [&](const LabelCount& c) { return find(c.label, dataset.label_item_kind()) >= 0; });
}

int LabelMap::find(const std::string& label, LabelKind item_kind) const {
  if (const auto at = ids_.find(label); at != ids_.end()) return at->second;
  if (integer_names_ || (item_kind != LabelKind::integers && !default_names_)) return -1;
  const auto value = parse_integer(label);
  return value && *value >= 0 && *value < num_labels() ? static_cast<int>(*value) : -1;
}

int LabelMap::resolve(const std::string& label, const Example& example, const Dataset& dataset) const {
  const int id = find(label, dataset.label_item_kind());
  if (id >= 0) return id;
  int64_t line = example.line;
  if (line == 0) {
    for (const LabelCount& c : dataset.label_counts()) line = c.label == label ? c.line : line;
  }
  if (parse_integer(label) && !integer_names_ &&
      (default_names_ || dataset.label_item_kind() == LabelKind::integers)) {
    fail_with(
        fmt::format("labels must be ids 0..{} or names of the model; {}", num_labels() - 1, kNewHeadHint),
        "{}: label {} is out of range: the model has {} labels ({})", place(dataset, line), label,
        num_labels(), join_names(names_));
  }
  const std::string near = nearest_name(label, names_);
  std::string hint = near.empty() ? "" : fmt::format("did you mean '{}'? ", near);
  hint += default_names_ ? fmt::format("the model does not name its labels: write the ids 0..{} in the file",
                                       num_labels() - 1)
                         : "a label must occur in the training data; when training, ";
  if (!default_names_) hint += kNewHeadHint;
  fail_with(hint, "{}: label '{}' is not one that the model knows ({})", place(dataset, line), label,
            join_names(names_));
}

int LabelMap::id(const Example& example, const Dataset& dataset) const {
  if (example.labels.size() != 1) {
    fail("{}: {} labels where exactly one is needed ({})", place(dataset, example.line),
         example.labels.size(), problem_type_);
  }
  return resolve(example.labels[0], example, dataset);
}

std::vector<float> LabelMap::multi_hot(const Example& example, const Dataset& dataset) const {
  if (!example.has_label()) fail("{}: the label is missing", place(dataset, example.line));
  std::vector<float> hot(names_.size(), 0.0f);
  for (const std::string& label : example.labels)
    hot[static_cast<size_t>(resolve(label, example, dataset))] = 1.0f;
  return hot;
}

float LabelMap::score(const Example& example, const Dataset& dataset) const {
  if (example.labels.size() != 1) {
    fail("{}: {} labels where one number is needed", place(dataset, example.line), example.labels.size());
  }
  const auto value = parse_number(example.labels[0]);
  if (value) return static_cast<float>(*value);
  fail_with("write a number; for classes the model needs a head with one output a label",
            "{}: label '{}' is not a number, but the model's head has one output (regression)",
            place(dataset, example.line), example.labels[0]);
}

void LabelMap::check_kind(const Dataset& dataset) const {
  const LabelKind kind = dataset.label_kind();
  if (kind == LabelKind::floats && problem_type_ != kRegression) {
    fail_with("write integers or names for classes, or take a model with one output for regression",
              "{}: the labels are numbers with a point (regression), but the model has {} labels ({})",
              place(dataset, 0), num_labels(), join_names(names_));
  }
  if (kind == LabelKind::lists && problem_type_ != kMulti) {
    fail_with("write one label a row, or pass --problem_type multi_label_classification",
              "{}: the labels are lists, but the problem_type is {}", place(dataset, 0), problem_type_);
  }
}

void LabelMap::check(const Dataset& dataset) const {
  check_kind(dataset);
  for (const Example& example : dataset.examples()) {
    if (!example.has_label()) continue;
    if (problem_type_ == kRegression) {
      score(example, dataset);
    } else {
      for (const std::string& label : example.labels) resolve(label, example, dataset);
    }
  }
  if (problem_type_ == kRegression) return;
  for (const LabelCount& c : dataset.label_counts()) {  // labels beyond max_samples
    Example example;
    example.line = c.line;
    resolve(c.label, example, dataset);
  }
}

}  // namespace graft::data
