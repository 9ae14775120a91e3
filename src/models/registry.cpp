#include "models/registry.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "base/nearest.h"
#include "base/shown.h"
#include "models/albert.h"
#include "models/bert.h"
#include "models/deberta_v2.h"
#include "models/distilbert.h"
#include "models/electra.h"
#include "models/gpt2.h"
#include "models/modernbert.h"
#include "models/mpnet.h"
#include "models/t5.h"

namespace graft::models {

std::vector<const HeadKind*>& head_kinds() {
  static std::vector<const HeadKind*> table = {&kSequenceClassification,
                                               &kTokenClassification,
                                               &kMaskedLm,
                                               &kCausalLm,
                                               &kSeq2SeqLm,
                                               &kQuestionAnswering,
                                               &kMultipleChoice,
                                               &kSentenceEmbedding,
                                               &kReplacedTokenDetection};
  return table;
}

std::vector<const Family*>& families() {
  static std::vector<const Family*> table = {
      &bert_family(),          &roberta_family(),    &xlm_roberta_family(), &camembert_family(),
      &data2vec_text_family(), &distilbert_family(), &gpt2_family(),        &t5_family(),
      &mt5_family(),           &modernbert_family(), &mpnet_family(),       &deberta_v2_family(),
      &electra_family(),       &albert_family()};
  return table;
}

std::string class_name(const Family& family, const HeadKind& kind) {
  for (const FamilyHead& head : family.heads)
    if (head.kind == &kind && head.class_suffix) return std::string(family.class_prefix) + head.class_suffix;
  return std::string(family.class_prefix) + kind.class_suffix;
}

bool is_backbone(const Family& family, const std::string& name) {
  if (name.starts_with(std::string(family.base_prefix) + ".")) return true;
  return std::any_of(family.bare.begin(), family.bare.end(),
                     [&](const char* first) { return name.starts_with(std::string(first) + "."); });
}

std::optional<PlaceInName> layer_in_name(const Family& family, const std::string& name) {
  const std::string base = std::string(family.base_prefix) + ".";
  for (const char* scope : {family.layers, family.decoder_layers}) {
    if (!scope) continue;
    for (const std::string& prefix : {std::string(scope) + ".", base + scope + "."}) {
      if (!name.starts_with(prefix)) continue;
      PlaceInName place;
      place.begin = prefix.size();
      place.end = std::min(name.find('.', place.begin), name.size());
      const std::string digits = name.substr(place.begin, place.end - place.begin);
      if (digits.empty() || digits.find_first_not_of("0123456789") != std::string::npos) continue;
      place.layer = std::stoll(digits);
      place.of_decoder = scope == family.decoder_layers;
      return place;
    }
  }
  return std::nullopt;
}

std::string other_backbone_name(const Family& family, const std::string& name) {
  const std::string prefix = std::string(family.base_prefix) + ".";
  return name.starts_with(prefix) ? name.substr(prefix.size()) : prefix + name;
}

const Family* find_family_or_null(const ModelConfig& config) {
  const std::string type = config.model_type();
  for (const Family* f : families())
    if (type == f->model_type) return f;
  return nullptr;
}

const Family& find_family(const ModelConfig& config) {
  if (const Family* f = find_family_or_null(config)) return *f;
  std::vector<std::string> types;
  for (const Family* f : families()) types.emplace_back(f->model_type);
  const std::string near = nearest_name(config.model_type(), types);
  fail_with(near.empty() ? "" : "did you mean \"" + near + "\"?",
            "{}: model_type \"{}\" is not implemented; graft has: {}", config.origin(),
            shown(config.model_type()), fmt::join(types, ", "));
}

const FamilyHead& find_head(const Family& family, const std::string& task, const ModelConfig& config) {
  std::vector<std::string> tasks;
  for (const FamilyHead& head : family.heads) {
    if (task == head.kind->task) return head;
    tasks.emplace_back(head.kind->task);
  }
  fail("{}: model_type \"{}\" has no {} head here (it has: {})", config.origin(), family.model_type, task,
       fmt::join(tasks, ", "));
}

std::string canonical_task(const std::string& name) {
  std::vector<std::string> known, tasks;
  for (const HeadKind* kind : head_kinds()) {
    if (name == kind->task || name == kind->alias) return kind->task;
    known.emplace_back(kind->task);
    known.emplace_back(kind->alias);
    tasks.emplace_back(kind->task);
  }
  const std::string near = nearest_name(name, known);
  throw UsageError(fmt::format("--task {} is not known; there are: {}", name, fmt::join(tasks, ", ")),
                   near.empty() ? "" : "did you mean --task " + near + "?");
}

namespace {

// "Model" ends the names of many classes: it is a head of the families that can embed texts.
bool has_bare_head(const ModelConfig& config) {
  const Family* family = find_family_or_null(config);
  return family && std::any_of(family->heads.begin(), family->heads.end(),
                               [](const FamilyHead& head) { return head.kind->is_bare; });
}

}  // namespace

std::string task_of_config(const ModelConfig& config) {
  const auto it = config.json().find("architectures");
  if (it == config.json().end() || !it->is_array()) return "";
  // Also of a model_type that is not here, so that the message about it names the model_type.
  for (const Json& name : *it) {
    const std::string text = name.is_string() ? name.get<std::string>() : "";
    for (const HeadKind* kind : head_kinds())
      if (text.ends_with(kind->class_suffix) && (!kind->is_bare || has_bare_head(config))) return kind->task;
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
                     task.empty()                      ? "which is no head that graft has"
                     : task == kSentenceEmbedding.task ? "an encoder without a head"
                                                       : "a " + task + " head");
}

}  // namespace graft::models
