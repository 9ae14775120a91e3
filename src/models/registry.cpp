#include "models/registry.h"

#include <algorithm>

#include "base/error.h"
#include "base/nearest.h"
#include "base/shown.h"
#include "models/bert.h"
#include "models/distilbert.h"

namespace graft::models {
namespace {

constexpr const char* kClassify = "sequence-classification";
constexpr const char* kMaskedLm = "masked-lm";

std::string join(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& n : names) out += (out.empty() ? "" : ", ") + n;
  return out;
}

}  // namespace

const std::vector<Architecture>& registry() {
  static const std::vector<Architecture> table = {
      {"bert", kClassify, "BertForSequenceClassification", "bert", make_bert_sequence_classification},
      {"bert", kMaskedLm, "BertForMaskedLM", "bert", make_bert_masked_lm},
      {"roberta", kClassify, "RobertaForSequenceClassification", "roberta",
       make_roberta_sequence_classification},
      {"roberta", kMaskedLm, "RobertaForMaskedLM", "roberta", make_roberta_masked_lm},
      {"xlm-roberta", kClassify, "XLMRobertaForSequenceClassification", "roberta",
       make_roberta_sequence_classification},
      {"xlm-roberta", kMaskedLm, "XLMRobertaForMaskedLM", "roberta", make_roberta_masked_lm},
      {"camembert", kClassify, "CamembertForSequenceClassification", "roberta",
       make_roberta_sequence_classification},
      {"camembert", kMaskedLm, "CamembertForMaskedLM", "roberta", make_roberta_masked_lm},
      {"distilbert", kClassify, "DistilBertForSequenceClassification", "distilbert",
       make_distilbert_sequence_classification},
      {"distilbert", kMaskedLm, "DistilBertForMaskedLM", "distilbert", make_distilbert_masked_lm},
  };
  return table;
}

const Architecture& find_architecture(const ModelConfig& config, const std::string& task) {
  const std::string type = config.model_type();
  std::vector<std::string> types, tasks;
  for (const Architecture& a : registry()) {
    if (type == a.model_type && task == a.task) return a;
    if (types.empty() || types.back() != a.model_type) types.emplace_back(a.model_type);
    if (type == a.model_type) tasks.emplace_back(a.task);
  }
  if (!tasks.empty())
    fail("{}: model_type \"{}\" has no {} head here (it has: {})", config.origin(), type, task, join(tasks));
  const std::string near = nearest_name(type, types);
  fail_with(near.empty() ? "" : "did you mean \"" + near + "\"?",
            "{}: model_type \"{}\" is not implemented; graft has: {}", config.origin(), shown(type),
            join(types));
}

std::string canonical_task(const std::string& name) {
  static const std::vector<std::pair<std::string, std::string>> aliases = {
      {"sequence-classification", kClassify},
      {"text-classification", kClassify},
      {"masked-lm", kMaskedLm},
      {"fill-mask", kMaskedLm}};
  std::vector<std::string> known;
  for (const auto& [alias, task] : aliases) {
    if (alias == name) return task;
    known.push_back(alias);
  }
  static const std::vector<std::string> later = {
      "token-classification", "ner",       "question-answering", "qa",
      "multiple-choice",      "causal-lm", "seq2seq-lm"};
  if (std::find(later.begin(), later.end(), name) != later.end()) {
    throw UsageError(
        fmt::format("--task {} is not implemented yet; there are: sequence-classification, masked-lm", name));
  }
  const std::string near = nearest_name(name, known);
  throw UsageError(fmt::format("--task {} is not known; there are: sequence-classification, masked-lm", name),
                   near.empty() ? "" : "did you mean --task " + near + "?");
}

std::string task_of_config(const ModelConfig& config) {
  const auto it = config.json().find("architectures");
  if (it == config.json().end() || !it->is_array()) return "";
  // Also of a model_type that is not here, so that the message about it names the model_type.
  for (const Json& name : *it) {
    const std::string text = name.is_string() ? name.get<std::string>() : "";
    if (text.ends_with("ForSequenceClassification")) return kClassify;
    if (text.ends_with("ForMaskedLM")) return kMaskedLm;
  }
  return "";
}

std::string head_in_words(const ModelConfig& config) {
  const auto it = config.json().find("architectures");
  std::string names;
  if (it != config.json().end() && it->is_array())
    for (const Json& name : *it)
      names += (names.empty() ? "" : ", ") + shown(name.is_string() ? name.get<std::string>() : name.dump());
  if (names.empty()) return "config.json has no \"architectures\", which name the head";
  const std::string task = task_of_config(config);
  return fmt::format("config.json names {} (model_type \"{}\"), {}", names, shown(config.model_type()),
                     task.empty() ? "which is no head that graft has" : "a " + task + " head");
}

}  // namespace graft::models
