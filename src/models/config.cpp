#include "models/config.h"

#include <unistd.h>

#include <limits>

#include "base/error.h"

namespace graft::models {
namespace {

constexpr int64_t kMaxLayers = 500;  // three times the deepest there is; each costs time, whatever its width
constexpr int64_t kMaxLabels = 1'000'000;  // each is a name

[[noreturn]] void fail_missing(const std::string& origin, const std::string& key) {
  fail_with("copy the checkpoint's config.json again: every architecture needs its sizes and its model_type",
            "{}: the key \"{}\" is missing", origin, key);
}

double physical_memory() {
  return static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGE_SIZE));
}

}  // namespace

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
  if (!j) fail_missing(origin_, key);
  if (!j->is_number_integer() || j->get<int64_t>() <= 0) {
    fail("{}: \"{}\" must be a positive integer, not {}", origin_, key, j->dump());
  }
  if (j->get<int64_t>() > std::numeric_limits<int32_t>::max()) {
    fail("{}: \"{}\" is {}; no model is that large", origin_, key, j->dump());
  }
  return j->get<int64_t>();
}

std::string ModelConfig::text(const std::string& key) const {
  const Json* j = find(key);
  if (!j) fail_missing(origin_, key);
  if (!j->is_string()) fail("{}: \"{}\" must be a string, not {}", origin_, key, j->dump());
  return j->get<std::string>();
}

int64_t ModelConfig::size_or(const std::string& key, int64_t other) const {
  return find(key) ? integer(key) : other;
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
    const int64_t n = integer_or("num_labels", 0);
    if (n > kMaxLabels) fail("{}: \"num_labels\" is {}; at most {} are possible", origin_, n, kMaxLabels);
    for (int64_t i = 0; i < n; ++i) names.push_back("LABEL_" + std::to_string(i));
    return names;
  }
  if (!map->is_object()) fail("{}: \"id2label\" must be an object", origin_);
  std::vector<std::string> names(map->size());
  for (const auto& [id, name] : map->items()) {
    size_t i = names.size();
    if (!id.empty() && id.size() < 9 && id.find_first_not_of("0123456789") == std::string::npos)
      i = std::stoul(id);
    if (i >= names.size() || !name.is_string()) {
      fail("{}: \"id2label\" must map 0..{} to names; \"{}\" does not fit", origin_, names.size() - 1, id);
    }
    names[i] = name.get<std::string>();
  }
  return names;
}

double ModelConfig::estimated_parameters() const {
  // The first spelling is BERT's, the second DistilBERT's.
  const auto size = [&](const char* key, const char* other) {
    const Json* j = find(key) ? find(key) : find(other);
    return j && j->is_number_integer() && j->get<int64_t>() > 0 ? static_cast<double>(j->get<int64_t>())
                                                                : 1.0;
  };
  const double H = size("hidden_size", "dim"), wide = size("intermediate_size", "hidden_dim");
  const double rows =
      size("vocab_size", "") + size("max_position_embeddings", "") + size("type_vocab_size", "");
  const double labels =
      find("id2label") ? static_cast<double>(find("id2label")->size()) : size("num_labels", "");
  return (rows + labels) * H + (size("num_hidden_layers", "n_layers") + 1) * (4 * H * H + 2 * H * wide);
}

void ModelConfig::check() const {
  for (const char* key : {"hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout",
                          "dropout", "attention_dropout", "seq_classif_dropout"}) {
    if (const double p = number_or(key, 0); !(p >= 0 && p < 1))
      fail("{}: \"{}\" is {}; a share in [0, 1) was expected", origin_, key, p);
  }
  if (const int64_t pad = integer_or("pad_token_id", 0), V = integer("vocab_size"); pad < 0 || pad >= V) {
    fail("{}: \"pad_token_id\" is {}, outside the vocabulary of {}", origin_, pad, V);
  }
  for (const char* key : {"num_hidden_layers", "n_layers"}) {
    if (integer_or(key, 0) > kMaxLayers)
      fail("{}: \"{}\" is {}; at most {} are possible", origin_, key, integer_or(key, 0), kMaxLayers);
  }
  const double bytes = 4 * estimated_parameters(), memory = physical_memory();
  if (bytes <= memory) return;
  fail_with(
      "check the sizes in this file (hidden_size, num_hidden_layers, vocab_size, ...), or use a smaller "
      "model",
      "{}: a model of these sizes has {:.3g} parameters, {:.3g} GB in fp32, and this machine has {:.3g} GB "
      "of memory",
      origin_, bytes / 4, bytes / 1e9, memory / 1e9);
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
