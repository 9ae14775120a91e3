#include "models/config.h"

#include "base/error.h"

namespace graft::models {

ModelConfig ModelConfig::from_file(const std::filesystem::path& file) {
  Json json = read_json(file);
  if (!json.is_object()) fail("{}: a JSON object was expected", file.string());
  return {std::move(json), file.string()};
}

const Json* ModelConfig::find(const std::string& key) const {
  const auto it = json_.find(key);
  return it == json_.end() || it->is_null() ? nullptr : &*it;
}

int64_t ModelConfig::integer(const std::string& key) const {
  const Json* j = find(key);
  if (!j) fail("{}: the key \"{}\" is missing", origin_, key);
  if (!j->is_number_integer() || j->get<int64_t>() <= 0) {
    fail("{}: \"{}\" must be a positive integer, not {}", origin_, key, j->dump());
  }
  return j->get<int64_t>();
}

std::string ModelConfig::text(const std::string& key) const {
  const Json* j = find(key);
  if (!j) fail("{}: the key \"{}\" is missing", origin_, key);
  if (!j->is_string()) fail("{}: \"{}\" must be a string, not {}", origin_, key, j->dump());
  return j->get<std::string>();
}

int64_t ModelConfig::integer_or(const std::string& key, int64_t other) const {
  const Json* j = find(key);
  if (!j) return other;
  if (!j->is_number_integer()) fail("{}: \"{}\" must be an integer, not {}", origin_, key, j->dump());
  return j->get<int64_t>();
}

double ModelConfig::number_or(const std::string& key, double other) const {
  const Json* j = find(key);
  if (!j) return other;
  if (!j->is_number()) fail("{}: \"{}\" must be a number, not {}", origin_, key, j->dump());
  return j->get<double>();
}

bool ModelConfig::flag_or(const std::string& key, bool other) const {
  const Json* j = find(key);
  if (!j) return other;
  if (!j->is_boolean()) fail("{}: \"{}\" must be true or false, not {}", origin_, key, j->dump());
  return j->get<bool>();
}

std::string ModelConfig::text_or(const std::string& key, const std::string& other) const {
  return find(key) ? text(key) : other;
}

std::vector<std::string> ModelConfig::label_names() const {
  const Json* map = find("id2label");
  if (!map) {
    std::vector<std::string> names;
    for (int64_t i = 0; i < integer_or("num_labels", 0); ++i) names.push_back("LABEL_" + std::to_string(i));
    return names;
  }
  if (!map->is_object()) fail("{}: \"id2label\" must be an object", origin_);
  std::vector<std::string> names(map->size());
  for (const auto& [id, name] : map->items()) {
    size_t i = names.size();
    if (!id.empty() && id.size() < 9 && id.find_first_not_of("0123456789") == std::string::npos) i = std::stoul(id);
    if (i >= names.size() || !name.is_string()) {
      fail("{}: \"id2label\" must map 0..{} to names; \"{}\" does not fit", origin_, names.size() - 1, id);
    }
    names[i] = name.get<std::string>();
  }
  return names;
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
