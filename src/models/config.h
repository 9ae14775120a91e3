// config.json: all keys in order, read field by field with errors that name file and key.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "hub/sentence_transformers.h"

namespace graft::models {

// The keys that decide the size of a model.
struct SizeKeys {
  const char *hidden_size, *intermediate_size, *num_layers;
};

class ModelConfig {
 public:
  ModelConfig() = default;
  // `origin` is the file for messages.
  ModelConfig(Json json, std::string origin) : json_(std::move(json)), origin_(std::move(origin)) {}
  static ModelConfig from_file(const std::filesystem::path& file);

  // A required key. Throws Error with the key if it is missing or has another type.
  int64_t integer(const std::string& key) const;
  std::string text(const std::string& key) const;
  // Optional keys; null counts as absent.
  bool is_null(const std::string& key) const;  // present and null
  bool is_missing(const std::string& key) const { return !find(key); }
  int64_t size_or(const std::string& key, int64_t other) const;  // positive
  int64_t integer_or(const std::string& key, int64_t other) const;
  double number_or(const std::string& key, double other) const;
  bool flag_or(const std::string& key, bool other) const;
  std::string text_or(const std::string& key, const std::string& other) const;
  double probability_or(const std::string& key, double other) const;   // in [0, 1)
  double non_negative_or(const std::string& key, double other) const;  // in [0, 1e6]
  int64_t layers(const std::string& key) const;                        // a required number of layers

  // Approximate number of parameters from the sizes in this file; missing sizes count as 1.
  double estimated_parameters(const SizeKeys& keys) const;
  // Throws Error with file and key for sizes that do not fit this machine's memory and for impossible values
  // of the keys that all models have. Call before building the model.
  void check(const SizeKeys& keys) const;

  std::string model_type() const { return text("model_type"); }
  // id2label in the order of ids (numbers as names count as their text); without one num_labels gives
  // LABEL_0, ...; empty when the file has neither.
  std::vector<std::string> label_names() const;
  // The labels of this file in words, for the message about a head that does not fit: `"id2label" names 2
  // labels`.
  std::string labels_in_words() const;
  // Logs a warning if num_labels or label2id contradict id2label, which takes precedence.
  void warn_of_label_contradictions() const;
  void set_labels(const std::vector<std::string>& names);

  const Json& json() const { return json_; }
  Json& json() { return json_; }
  const std::string& origin() const { return origin_; }

  // The modules of a sentence encoder behind the transformer; no other model reads them.
  hub::SentenceTransformer modules;

 private:
  const Json* find(const std::string& key) const;
  Json json_;
  std::string origin_;
};

}  // namespace graft::models
