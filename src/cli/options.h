// The options of a verb: declared as a list, read from the command line and from --config, spelt with
// underscores or dashes. Everything wrong is a UsageError (exit code 2) that names the nearest known option.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "graft/dataset.h"
#include "graft/trainer.h"

namespace graft::cli {

class Options {
 public:
  // `summary` one sentence, `examples` whole command lines; both for --help.
  Options(std::string verb, std::string summary, std::vector<std::string> examples);

  void text(const std::string& name, std::string& to, const std::string& help, bool required = false);
  void list(const std::string& name, std::vector<std::string>& to, const std::string& help);
  void integer(const std::string& name, int64_t& to, const std::string& help);
  void flag(const std::string& name, bool& to, const std::string& help);
  // All of TrainingArguments under their names.
  void training_arguments(TrainingArguments& to);
  // text_column, text_pair_column, label_column.
  void columns(DatasetOptions& to);

  // Reads argv[first..]. Returns false when --help was asked for (and printed to stdout).
  bool parse(int argc, char** argv, int first);
  bool given(const std::string& name) const;

 private:
  struct Option {
    std::string name, help, shown_default;
    bool is_flag = false, is_list = false, required = false, training = false;
    std::function<void(const std::vector<std::string>&)> set;
    bool given = false;
  };
  Option* find(const std::string& name);
  void set(const std::string& name, const std::vector<std::string>& values, bool from_file);
  void read_config(const std::string& file);
  void print_help() const;
  std::vector<std::string> names() const;

  std::string verb_, summary_;
  std::vector<std::string> examples_;
  std::vector<Option> options_;
  std::string config_;
  TrainingArguments* training_ = nullptr;
};

}  // namespace graft::cli
