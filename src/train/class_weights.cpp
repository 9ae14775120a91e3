#include "train/class_weights.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "base/error.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/log.h"
#include "train/argument_values.h"

namespace graft::train {
namespace {

constexpr const char* kWeights = "class_weights";
constexpr Range kWeightRange{0, 1e6};

// The labels of the training data, of each class.
std::vector<double> count_labels(const tasks::Features& train, size_t classes) {
  std::vector<double> counts(classes);
  data::RaggedBatch batch;
  for (int64_t i = 0; i < train.size(); ++i) {
    batch.clear();
    train.append(batch, i, 0, 0);
    for (const int32_t label : batch.labels)
      if (label >= 0 && static_cast<size_t>(label) < classes) ++counts[static_cast<size_t>(label)];
  }
  return counts;
}

// A class without examples occurs in no term of the loss.
std::vector<double> balanced(const std::vector<double>& counts) {
  const double all = std::accumulate(counts.begin(), counts.end(), 0.0);
  std::vector<double> weights;
  for (const double n : counts) weights.push_back(n > 0 ? all / (static_cast<double>(counts.size()) * n) : 0);
  return weights;
}

std::vector<double> effective(const std::vector<double>& counts, double beta) {
  std::vector<double> weights;
  for (const double n : counts) weights.push_back(n > 0 ? (1 - beta) / (1 - std::pow(beta, n)) : 0);
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& w : weights) w *= static_cast<double>(counts.size()) / sum;
  return weights;
}

double weight_of(const Json& value, const std::string& file, const std::string& label) {
  if (!value.is_number())
    throw UsageError(
        fmt::format("{}: the weight of {} is {}; a number was expected", file, label, value.dump()));
  return value.get<double>();
}

std::vector<double> read_weights(const std::string& file, const std::vector<std::string>& labels) {
  const Json json = read_json(file);
  std::vector<double> weights;
  if (json.is_array()) {
    for (const Json& value : json) weights.push_back(weight_of(value, file, "a class"));
    return weights;
  }
  if (!json.is_object())
    throw UsageError(fmt::format("{}: an object of labels and weights, or a list, was expected", file));
  for (const std::string& label : labels) {
    const auto it = json.find(label);
    if (it == json.end()) throw UsageError(fmt::format("{}: the label {} has no weight", file, label));
    weights.push_back(weight_of(*it, file, label));
  }
  for (const auto& [key, value] : json.items()) {
    const std::string& name = key;
    if (std::find(labels.begin(), labels.end(), name) == labels.end())
      throw UsageError(fmt::format("{}: {} is no label of the model", file, name));
  }
  return weights;
}

std::vector<double> parse_list(const std::string& text) {
  std::vector<double> weights;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    weights.push_back(parse_real(kWeights, text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return weights;
}

}  // namespace

std::vector<float> class_weights(const std::string& text, const Model& model, const tasks::Features& train) {
  const std::vector<std::string>& labels = model.labels();
  constexpr std::string_view kEffective = "effective_number";
  std::vector<double> weights;
  if (text == "balanced") {
    weights = balanced(count_labels(train, labels.size()));
  } else if (text.starts_with(kEffective)) {
    double beta = 0.999;
    if (text.size() > kEffective.size() + 1) beta = parse_real(kWeights, text.substr(kEffective.size() + 1));
    check_range(fmt::format("{} {}", kWeights, kEffective), beta, {0, 1, Range::Ends::without_max});
    weights = effective(count_labels(train, labels.size()), beta);
  } else if (path_exists(text)) {
    weights = read_weights(text, labels);
  } else {
    weights = parse_list(text);
  }
  if (weights.size() != labels.size())
    throw UsageError(
        fmt::format("--{} has {} weights, and the model {} labels", kWeights, weights.size(), labels.size()));
  if (std::all_of(weights.begin(), weights.end(), [](double w) { return w == 0; }))
    throw UsageError(fmt::format("--{}: all weights are 0, so nothing is learned", kWeights));
  std::string shown;
  for (size_t i = 0; i < weights.size(); ++i) {
    check_range(kWeights, weights[i], kWeightRange);
    if (i < 20) shown += fmt::format("{}{} {:.4g}", i > 0 ? ", " : "", labels[i], weights[i]);
  }
  log_info("class weights: {}{}", shown, weights.size() > 20 ? ", ..." : "");
  return {weights.begin(), weights.end()};
}

}  // namespace graft::train
