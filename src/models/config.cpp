#include "models/config.h"

#include <cmath>
#include <limits>
#include <set>

#include "base/error.h"
#include "base/memory.h"
#include "base/shown.h"

namespace graft::models {
namespace {

constexpr int64_t kMaxLayers = 500;  // three times the deepest there is; each costs time, whatever its width

[[noreturn]] void fail_missing(const std::string& origin, const std::string& key) {
  fail_with("copy the checkpoint's config.json again: every architecture needs its sizes and its model_type",
            "{}: the key \"{}\" is missing", origin, key);
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
  if (!j->is_number_integer() || j->get<double>() <= 0) {
    fail("{}: \"{}\" must be a positive integer, not {}", origin_, key, shown(j->dump()));
  }
  if (j->get<double>() > std::numeric_limits<int32_t>::max())
    fail("{}: \"{}\" is {}; no model is that large", origin_, key, j->dump());
  return j->get<int64_t>();
}

std::string ModelConfig::text(const std::string& key) const {
  const Json* j = find(key);
  if (!j) fail_missing(origin_, key);
  if (!j->is_string()) fail("{}: \"{}\" must be a string, not {}", origin_, key, shown(j->dump()));
  return j->get<std::string>();
}

int64_t ModelConfig::size_or(const std::string& key, int64_t other) const {
  return find(key) ? integer(key) : other;
}

int64_t ModelConfig::integer_or(const std::string& key, int64_t other) const {
  const Json* j = find(key);
  if (!j) return other;
  if (!j->is_number_integer() || std::fabs(j->get<double>()) > std::numeric_limits<int32_t>::max())
    fail("{}: \"{}\" must be an integer of 32 bits, not {}", origin_, key, shown(j->dump()));
  return j->get<int64_t>();
}

double ModelConfig::number_or(const std::string& key, double other) const {
  const Json* j = find(key);
  if (!j) return other;
  if (!j->is_number()) fail("{}: \"{}\" must be a number, not {}", origin_, key, shown(j->dump()));
  return j->get<double>();
}

bool ModelConfig::is_null(const std::string& key) const {
  const auto it = json_.find(key);
  return it != json_.end() && it->is_null();
}

bool ModelConfig::flag_or(const std::string& key, bool other) const {
  const Json* j = find(key);
  if (!j) return other;
  if (!j->is_boolean()) fail("{}: \"{}\" must be true or false, not {}", origin_, key, shown(j->dump()));
  return j->get<bool>();
}

std::string ModelConfig::text_or(const std::string& key, const std::string& other) const {
  return find(key) ? text(key) : other;
}

double ModelConfig::probability_or(const std::string& key, double other) const {
  const double p = number_or(key, other);
  if (!(p >= 0 && p < 1)) fail("{}: \"{}\" is {}; a probability in [0, 1) was expected", origin_, key, p);
  return p;
}

double ModelConfig::non_negative_or(const std::string& key, double other) const {
  const double x = number_or(key, other);
  if (!(x >= 0 && x <= 1e6)) fail("{}: \"{}\" is {}; a number from 0 to 1e6 was expected", origin_, key, x);
  return x;
}

int64_t ModelConfig::layers(const std::string& key) const {
  const int64_t n = integer(key);
  if (n > kMaxLayers) fail("{}: \"{}\" is {}; at most {} are possible", origin_, key, n, kMaxLayers);
  return n;
}

double ModelConfig::estimated_parameters(const SizeKeys& keys) const {
  const auto size = [&](const char* key) {
    const Json* j = find(key);
    return j && j->is_number_integer() && j->get<double>() > 0 ? j->get<double>() : 1.0;
  };
  // GPT-2 leaves n_inner out for four times the hidden size.
  const double H = size(keys.hidden_size),
               wide = find(keys.intermediate_size) ? size(keys.intermediate_size) : 4 * H;
  const double rows = size("vocab_size") + size("max_position_embeddings") + size("type_vocab_size");
  const double labels = find("id2label") ? static_cast<double>(find("id2label")->size()) : size("num_labels");
  return (rows + labels) * H + (size(keys.num_layers) + 1) * (4 * H * H + 2 * H * wide);
}

void ModelConfig::check(const SizeKeys& keys) const {
  non_negative_or("initializer_range", 0);
  static const std::set<std::string> kProblems = {"", "single_label_classification",
                                                  "multi_label_classification", "regression"};
  if (const std::string problem = text_or("problem_type", ""); !kProblems.count(problem)) {
    fail_with("write single_label_classification, multi_label_classification or regression",
              "{}: \"problem_type\" is \"{}\"", origin_, shown(problem));
  }
  if (const int64_t pad = integer_or("pad_token_id", 0), V = integer("vocab_size"); pad < 0 || pad >= V) {
    fail("{}: \"pad_token_id\" is {}, outside the vocabulary of {}", origin_, pad, V);
  }
  const MemoryLimit limit = tightest_memory_limit();
  const double bytes = 4 * estimated_parameters(keys), memory = static_cast<double>(limit.left());
  if (bytes <= memory) return;
  fail_with(
      "check the sizes in this file (hidden_size, num_hidden_layers, vocab_size, ...), or use a smaller "
      "model",
      "{}: a model of these sizes has {:.3g} parameters, {:.3g} GB in fp32, and there are {:.3g} GB of "
      "memory left "
      "({})",
      origin_, bytes / 4, bytes / 1e9, memory / 1e9, limit.name);
}

}  // namespace graft::models
