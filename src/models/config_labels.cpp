// id2label, label2id and num_labels of config.json. id2label counts, as in the reference (PreTrainedConfig).
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "base/shown.h"
#include "models/config.h"

namespace graft::models {
namespace {

constexpr int64_t kMaxLabels = 1'000'000;  // each is a name

std::vector<std::string> numbered(int64_t n) {
  std::vector<std::string> names;
  for (int64_t i = 0; i < n; ++i) names.push_back("LABEL_" + std::to_string(i));
  return names;
}

}  // namespace

std::vector<std::string> ModelConfig::label_names() const {
  const Json* map = find("id2label");
  if (!map || map->empty()) {
    const int64_t n = size_or("num_labels", 0);
    if (n > kMaxLabels) fail("{}: \"num_labels\" is {}; at most {} are possible", origin_, n, kMaxLabels);
    return numbered(n);
  }
  if (!map->is_object()) {
    fail_with("write it as {\"0\": \"NAME\", \"1\": \"NAME\"}", "{}: \"id2label\" must be an object, not {}",
              origin_, shown(map->dump()));
  }
  std::vector<std::string> names(map->size());
  std::vector<bool> named(names.size());
  for (const auto& [id, name] : map->items()) {
    size_t i = names.size();
    if (!id.empty() && id.size() < 9 && id.find_first_not_of("0123456789") == std::string::npos)
      i = std::stoul(id);
    const bool is_name = name.is_string() || name.is_number() || name.is_boolean();
    if (i >= names.size() || !is_name || named[i]) {
      fail_with(fmt::format("write a name for each of the ids 0..{}, once", names.size() - 1),
                "{}: \"id2label\" maps \"{}\" to {}; it must map 0..{} to names", origin_, shown(id),
                shown(name.dump()), names.size() - 1);
    }
    named[i] = true;
    names[i] = name.is_string() ? name.get<std::string>() : name.dump();
  }
  return names;
}

std::string ModelConfig::labels_in_words() const {
  const Json *map = find("id2label"), *count = find("num_labels");
  const auto labels = [](size_t n) { return fmt::format("{} label{}", n, n == 1 ? "" : "s"); };
  if (map && !map->empty()) {
    const bool differs = count && label_names().size() != static_cast<size_t>(size_or("num_labels", 0));
    return fmt::format("\"id2label\" names {}{}", labels(map->size()),
                       differs ? fmt::format(" (and \"num_labels\" is {})", count->dump()) : "");
  }
  if (count) return fmt::format("\"num_labels\" is {}", count->dump());
  return fmt::format("it has no \"id2label\", which means 2 labels{}",
                     find("label2id") ? " (\"label2id\" alone is not read)" : "");
}

void ModelConfig::warn_of_label_contradictions() const {
  const Json *map = find("id2label"), *back = find("label2id"), *count = find("num_labels");
  const std::vector<std::string> names = label_names();
  if (!map || map->empty()) {
    if (back && !back->empty())
      log_warning("{}: \"label2id\" is not read without \"id2label\": the labels are {}", origin_,
                  fmt::join(names.empty() ? numbered(2) : names, ", "));
    return;
  }
  if (count && size_or("num_labels", 0) != static_cast<int64_t>(names.size()))
    log_warning("{}: \"num_labels\" is {} but \"id2label\" has {} names: \"id2label\" counts", origin_,
                count->dump(), names.size());
  std::set<std::string> seen;
  for (const std::string& name : names)
    if (!seen.insert(name).second)
      log_warning("{}: \"id2label\" gives the name \"{}\" to two ids: answers do not tell them apart",
                  origin_, shown(name));
  for (size_t i = 0; i < names.size(); ++i) {
    const Json* id = back && back->is_object() && back->contains(names[i]) ? &back->at(names[i]) : nullptr;
    if (!id || *id == Json(static_cast<int64_t>(i))) continue;
    if (std::count(names.begin(), names.end(), names[i]) > 1) continue;
    log_warning("{}: \"label2id\" gives \"{}\" the id {}, \"id2label\" {}: \"id2label\" counts", origin_,
                shown(names[i]), shown(id->dump()), i);
    return;
  }
}

void ModelConfig::set_labels(const std::vector<std::string>& names) {
  Json id2label = Json::object(), label2id = Json::object();
  for (size_t i = 0; i < names.size(); ++i) {
    id2label[std::to_string(i)] = names[i];
    label2id[names[i]] = i;
  }
  json_["id2label"] = id2label;
  json_["label2id"] = label2id;
  json_.erase("num_labels");
}

}  // namespace graft::models
