#include "data/labels.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/log.h"
#include "base/nearest.h"
#include "base/shown.h"
#include "data/label_tally.h"
#include "data/problem_type.h"
#include "data/rows.h"
#include "data/similar_names.h"

namespace graft::data {
namespace {

using problem_type::kMultiLabel;
using problem_type::kRegression;
using problem_type::kSingleLabel;

constexpr const char* kNewHeadHint =
    "to train a new head for the labels of this file pass --ignore_mismatched_sizes true";

std::string place(const Dataset& dataset, int64_t line) {
  std::string origin = dataset.origin().empty() ? "the data" : dataset.origin();
  if (line <= 0) return origin;
  return dataset.label_column().empty()
             ? fmt::format("{}: line {}", origin, line)
             : fmt::format("{}: line {}: column '{}'", origin, line, shown(dataset.label_column()));
}

// GLUE's test sets have the label -1 in every row.
constexpr const char* kUnlabelledHint =
    "-1 often marks rows without a label: remove them, or take a file that has labels";

// Ids of a data set's integers: they must be 0..N-1.
std::vector<std::string> names_of_integers(const Dataset& train) {
  std::vector<std::pair<int64_t, int64_t>> values;  // label, line
  for (const LabelCount& c : train.label_counts()) {
    const auto value = parse_integer(c.label);
    if (!value) {
      fail_with("number the labels 0..N-1 without a gap, or write names instead of integers",
                "{}: the label {} is too large for the id of a label", place(train, c.line), shown(c.label));
    }
    values.emplace_back(*value, c.line);
  }
  std::sort(values.begin(), values.end());
  const auto n = static_cast<int64_t>(values.size());
  for (int64_t i = 0; i < n; ++i) {
    const auto [label, line] = values[static_cast<size_t>(i)];
    if (label == i) continue;
    const std::string hint =
        values[0].first == -1 ? kUnlabelledHint
        : values[0].first == 1 && values.back().first == n
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

void require_labels(const Dataset& train) {
  if (train.label_kind() == LabelKind::none)
    fail_with("give a file with a label column", "{}: no labels to train on", place(train, 0));
}

std::string numbered(const std::vector<std::string>& names) {
  std::vector<std::string> out;
  for (size_t i = 0; i < names.size(); ++i) out.push_back(fmt::format("{} = {}", i, names[i]));
  return join_names(out);
}

void check_enough(const Dataset& train, const std::vector<std::string>& names,
                  const std::string& problem_type) {
  if (names.size() > 1 || problem_type == kMultiLabel) return;
  const auto& counts = train.label_counts();
  if (counts.empty())
    fail_with("mark the labels that apply to some rows", "{}: no row has a label", place(train, 0));
  fail_with(
      "a classifier needs at least two labels; labels that are numbers with a point (1.5) train a regression",
      "{}: every row has the same label '{}'", place(train, 0), shown(counts[0].label));
}

// Says that numbers are read as numbers, and whether they look like classes.
void explain_regression(const Dataset& train, const std::string& asked) {
  if (!asked.empty()) {
    log_info("{}: regression, one output: config.json has \"problem_type\": \"{}\"", place(train, 0), asked);
    return;
  }
  bool whole = train.size() > 0;
  std::string pointed;  // the first that is not written as an integer
  train.for_each([&](const Example& e) {
    if (!e.has_label()) return;
    const auto value = parse_number(e.labels[0]);
    whole = whole && value && *value == std::floor(*value);
    if (pointed.empty() && !is_integer(e.labels[0])) pointed = e.labels[0];
  });
  if (whole) {
    log_warning(
        "{}: labels are numbers: regression, one output; write integers for classes (all of them are whole "
        "numbers, written with a point: {})",
        place(train, 0), pointed.empty() ? "1.0" : shown(pointed));
  } else {
    log_info("{}: labels are numbers: regression, one output; write integers for classes", place(train, 0));
  }
}

// Says that names are read as names where they look like numbers, and that one label is trained as several.
void explain_classes(const Dataset& train, const std::string& asked) {
  const auto& counts = train.label_counts();
  const bool numbers = std::all_of(counts.begin(), counts.end(),
                                   [](const LabelCount& c) { return parse_number(c.label).has_value(); });
  if (train.label_item_kind() == LabelKind::strings && numbers && !counts.empty()) {
    log_warning(
        "{}: labels are numbers in quotes (\"{}\"): read as the names of {} classes; for regression write "
        "numbers without quotes",
        place(train, counts[0].line), shown(counts[0].label), counts.size());
  }
  if (asked == kMultiLabel && train.label_kind() != LabelKind::lists) {
    log_warning(
        "{}: each row has one label, but several labels a row are trained (a sigmoid for each), because "
        "config.json has \"problem_type\": \"{}\"; if one label applies to a row, write \"{}\" there",
        place(train, 0), kMultiLabel, kSingleLabel);
  }
  if (asked.empty() && train.label_kind() == LabelKind::lists)
    log_info("{}: labels are lists: several labels a row ({})", place(train, 0), kMultiLabel);
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
  return kind == LabelKind::lists || kind == LabelKind::floats ? kMultiLabel : kSingleLabel;
}

LabelMap::LabelMap(std::vector<std::string> names, std::string problem_type, Source source)
    : names_(std::move(names)), problem_type_(std::move(problem_type)), source_(source) {
  for (size_t i = 0; i < names_.size(); ++i) {
    if (!ids_.emplace(names_[i], static_cast<int>(i)).second) {
      fail_with("give every label its own name in config.json", "id2label names '{}' twice (ids {} and {})",
                shown(names_[i]), ids_[names_[i]], i);
    }
    integer_names_ = integer_names_ || parse_integer(names_[i]).has_value();
  }
  default_names_ = names_ == default_label_names(num_labels());
  if (problem_type_ != kRegression && problem_type_ != kSingleLabel && problem_type_ != kMultiLabel) {
    fail_with(fmt::format("it is one of {}, {}, {}", kRegression, kSingleLabel, kMultiLabel),
              "unknown problem_type '{}'", shown(problem_type_));
  }
}

LabelMap LabelMap::from_checkpoint(const CheckpointLabels& checkpoint, LabelKind kind) {
  const int n = static_cast<int>(checkpoint.names.size());
  return LabelMap(checkpoint.names,
                  checkpoint.problem_type.empty() ? infer_problem_type(kind, n) : checkpoint.problem_type,
                  Source::evaluation);
}

LabelMap LabelMap::chosen(const Dataset& train, std::vector<std::string> names,
                          const std::string& problem_type) {
  require_labels(train);
  const int n = static_cast<int>(names.size());
  return LabelMap(std::move(names),
                  problem_type.empty() ? infer_problem_type(train.label_kind(), n) : problem_type,
                  Source::training_data);
}

LabelMap LabelMap::for_training(const Dataset& train, const CheckpointLabels& checkpoint) {
  require_labels(train);
  const LabelKind kind = train.label_kind();
  const std::string& asked = checkpoint.problem_type;
  const bool numbers = asked == kRegression || (asked.empty() && kind == LabelKind::floats);
  LabelMap map = numbers ? for_regression(train, checkpoint) : for_classes(train, checkpoint);
  numbers ? explain_regression(train, asked) : explain_classes(train, asked);
  return map;
}

LabelMap LabelMap::for_regression(const Dataset& train, const CheckpointLabels& checkpoint) {
  if (checkpoint.has_head && checkpoint.names.size() > 1) {
    fail_with(
        kNewHeadHint,
        "{}: the labels are numbers (regression, one output) but the checkpoint's head has {} labels ({})",
        place(train, 0), checkpoint.names.size(), join_names(checkpoint.names));
  }
  LabelMap map(checkpoint.names.size() == 1 ? checkpoint.names : default_label_names(1), kRegression,
               Source::training_data);
  map.check(train);
  return map;
}

LabelMap LabelMap::for_classes(const Dataset& train, const CheckpointLabels& checkpoint) {
  const size_t head_size = checkpoint.has_head ? checkpoint.names.size() : 0;
  const auto type_for = [&](size_t n) {
    return checkpoint.problem_type.empty() ? infer_problem_type(train.label_kind(), static_cast<int>(n))
                                           : checkpoint.problem_type;
  };
  const bool integers = train.label_item_kind() == LabelKind::integers;
  const bool named = !checkpoint.names.empty() &&
                     checkpoint.names != default_label_names(static_cast<int>(checkpoint.names.size()));
  if (head_size > 0 || named) {
    LabelMap map(checkpoint.names, type_for(checkpoint.names.size()), Source::head);
    const bool counts_agree =
        head_size > 0 || !integers || train.label_counts().size() == checkpoint.names.size();
    if (map.covers(train) && counts_agree && map.problem_type_ != kRegression) {
      map.check_kind(train);
      log_info("label ids follow the checkpoint{}: {}",
               named ? "'s id2label" : ", which does not name its labels", numbered(map.names_));
      return map;
    }
    if (head_size > 0 && (named || integers)) map.check(train);
  }
  std::vector<std::string> names = names_of_data(train);
  check_enough(train, names, checkpoint.problem_type);
  if (head_size > 0) {
    if (names.size() != head_size) {
      fail_with(kNewHeadHint, "{}: {} labels ({}) but the checkpoint's head has {}", place(train, 0),
                names.size(), join_names(names), head_size);
    }
    log_warning("the checkpoint's head does not name its labels; their ids follow the sorted names of {}: {}",
                place(train, 0), numbered(names));
  } else if (named) {
    log_warning("the checkpoint's label names ({}) do not fit the labels of {} and are replaced: {}",
                join_names(checkpoint.names), place(train, 0), numbered(names));
  } else {
    log_info("label ids {} {}: {}", integers ? "are the integers of" : "follow the sorted names of",
             place(train, 0), numbered(names));
  }
  const std::string type = type_for(names.size());
  LabelMap map(std::move(names), type, Source::training_data);
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
  const std::string where = place(dataset, line);
  if (is_integer(label) && !integer_names_ &&
      (default_names_ || dataset.label_item_kind() == LabelKind::integers)) {
    fail_with(parse_integer(label) == -1 ? kUnlabelledHint
                                         : fmt::format("labels must be ids 0..{} or names of the model; {}",
                                                       num_labels() - 1, unknown_hint()),
              "{}: label {} is out of range: the model has {} labels ({})", where, shown(label), num_labels(),
              join_names(names_));
  }
  if (const std::string alike = look_alike(label, names_); !alike.empty()) {
    fail_with("write the label as the model does", "{}: the model has no such label: {} differ {}", where,
              both_shown(label, alike), difference(label, alike));
  }
  const std::string near = nearest_name(label, names_);
  std::string hint = near.empty() ? "" : fmt::format("did you mean '{}'? ", shown(near));
  hint += default_names_ ? fmt::format("the model does not name its labels: write the ids 0..{} in the file",
                                       num_labels() - 1)
                         : unknown_hint();
  fail_with(hint, "{}: label '{}' is not a label of the model ({})", where, shown(label), join_names(names_));
}

// The hint for a label that the head does not have.
const char* LabelMap::unknown_hint() const {
  switch (source_) {
    case Source::training_data:
      return "a label must occur in the training data: add rows with it there, or remove the rows here";
    case Source::head:
      return kNewHeadHint;
    case Source::evaluation:
      break;
  }
  return "correct the label, or take a model that was trained with it";
}

int LabelMap::id(const Example& example, const Dataset& dataset) const {
  if (example.labels.size() != 1) {
    fail("{}: {} labels where exactly one is needed ({})", place(dataset, example.line),
         example.labels.size(), problem_type_);
  }
  return resolve(example.labels[0], example, dataset);
}

int LabelMap::id_of(const std::string& label, int64_t line, const Dataset& dataset) const {
  Example example;
  example.line = line;
  return resolve(label, example, dataset);
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
  const std::string& label = example.labels[0];
  const auto value = parse_number(label);
  if (!value) {
    fail_with("write a finite number; for classes the model needs a head with one output a label",
              "{}: label '{}' is not a number, but the model's head has one output (regression)",
              place(dataset, example.line), shown(label));
  }
  if (std::abs(*value) > std::numeric_limits<float>::max()) {
    fail_with("divide all labels by a constant", "{}: the label {} is too large for a 32-bit float",
              place(dataset, example.line), shown(label));
  }
  return static_cast<float>(*value);
}

void LabelMap::check_kind(const Dataset& dataset) const {
  const LabelKind kind = dataset.label_kind();
  if (problem_type_ == kRegression && num_labels() != 1) {
    fail_with("take a model with one output, or correct \"problem_type\" in config.json",
              "{}: a row has one number, but the model is a regression with {} outputs ({})",
              place(dataset, 0), num_labels(), join_names(names_));
  }
  if (kind == LabelKind::floats && problem_type_ != kRegression) {
    fail_with(
        "write integers (1 instead of 1.0) or names for classes, or take a model with one output for "
        "regression",
        "{}: the labels are numbers with a point (regression), but the model has {} labels ({})",
        place(dataset, 0), num_labels(), join_names(names_));
  }
  if (kind == LabelKind::lists && problem_type_ != kMultiLabel) {
    fail_with(fmt::format("write one label a row, or \"problem_type\": \"{}\" in config.json", kMultiLabel),
              "{}: the labels are lists, but the model's problem_type is {}", place(dataset, 0),
              problem_type_);
  }
}

void LabelMap::check(const Dataset& dataset) const {
  check_kind(dataset);
  // The labels of a file's rows are all among the counts.
  if (problem_type_ == kRegression || !dataset.in_file()) {
    dataset.for_each([&](const Example& example) {
      if (!example.has_label()) return;
      if (problem_type_ == kRegression) {
        score(example, dataset);
      } else {
        for (const std::string& label : example.labels) resolve(label, example, dataset);
      }
    });
  }
  if (problem_type_ == kRegression) return;
  if (dataset.label_item_kind() == LabelKind::integers && !integer_names_ && !default_names_)
    log_info("{}: integer labels are ids: {}", place(dataset, 0), numbered(names_));
  for (const LabelCount& c : dataset.label_counts()) {  // labels beyond max_samples
    Example example;
    example.line = c.line;
    resolve(c.label, example, dataset);
  }
}

}  // namespace graft::data
