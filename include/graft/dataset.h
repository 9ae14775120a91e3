// Labelled and unlabelled text from csv, tsv, jsonl, json and plain files.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace graft {

// One row. Labels stay as written until the checkpoint's label2id gives them meaning.
struct Example {
  std::string text;
  std::string text_pair;
  bool has_pair = false;
  std::vector<std::string> labels;  // one, or several for multi-label; empty = unlabelled
  int64_t line = 0;                 // first line of the row in its file (1-based; 0 = not from a file)
};

// How the labels of a file are written; decides the problem_type as the reference does.
enum class LabelKind { none, integers, strings, floats, lists };

struct DatasetOptions {
  std::string text_column;       // "" = the first present of the usual ones: text, sentence, sentence1, premise, ...
  std::string text_pair_column;  // "" = the usual partner: sentence2, hypothesis, ...
  std::string label_column;      // "" = label or labels, when present
  bool require_label = false;    // a file without a label column, or a row without a label, is an error
  int64_t max_samples = -1;      // first N rows; -1 = all
};

class Dataset {
 public:
  Dataset() = default;
  // Reads by extension (.csv .tsv .jsonl .json .txt, each also .gz .zst .xz). Throws Error that names file, line,
  // column and the fix.
  static Dataset from_file(const std::filesystem::path& path, const DatasetOptions& options = {});
  explicit Dataset(std::vector<Example> examples, std::string origin = "");

  size_t size() const { return examples_.size(); }
  const Example& operator[](size_t i) const { return examples_[i]; }
  const std::vector<Example>& examples() const { return examples_; }
  const std::string& origin() const { return origin_; }  // the file, for messages
  LabelKind label_kind() const { return label_kind_; }
  bool has_pairs() const { return !examples_.empty() && examples_.front().has_pair; }

 private:
  std::vector<Example> examples_;
  std::string origin_;
  LabelKind label_kind_ = LabelKind::none;
};

}  // namespace graft
