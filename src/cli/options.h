// The options of a verb: declared as a list, read from the command line and from --config, with underscores
// or dashes. An error is a UsageError (exit code 2); for an unknown option it suggests one.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "graft/dataset.h"
#include "graft/trainer.h"
#include "train/argument_values.h"

namespace graft {
class Json;
}

namespace graft::train {
struct Argument;
}

namespace graft::cli {

// What `evaluate` and `predict` have in common.
struct InferenceOptions {
  std::string model, load_lang_adapter;
  DatasetOptions columns;
  int64_t batch_size = 32, max_seq_length = 0;
  std::optional<bool> bf16;
  bool profile = false;
};

class Options {
 public:
  // For --help: `summary` is one sentence, `examples` are whole command lines.
  Options(std::string verb, std::string summary, std::vector<std::string> examples);

  void text(const std::string& name, std::string& to, const std::string& help, bool required = false);
  // What a declared option is for in this verb. "": it is refused, and --help leaves it out.
  void explain(const std::string& name, const std::string& help);
  // A text that may be empty.
  void any_text(const std::string& name, std::string& to, const std::string& help);
  void list(const std::string& name, std::vector<std::string>& to, const std::string& help);
  // A value that `set` reads.
  void value(const std::string& name, const std::string& help, const std::string& shown_default,
             std::function<void(const std::string&)> set);
  // The value of `to` is the default. It is allowed even outside the range.
  void integer(const std::string& name, int64_t& to, const std::string& help, const train::Range& range);
  void flag(const std::string& name, bool& to, const std::string& help);
  // One of several words; the option alone means the first.
  void form(const std::string& name, const std::vector<std::string>& words, std::string& to,
            const std::string& help);
  // --bf16; without a value `to` stays empty.
  void precision(std::optional<bool>& to, const std::string& fallback);
  // --num_threads; sets the number of threads when it is parsed.
  void threads();
  // All of TrainingArguments under their names.
  void training_arguments(TrainingArguments& to);
  // One of them, for a verb that follows a finished training.
  void training_argument(const std::string& name, TrainingArguments& to);
  // text_column, text_pair_column, label_column, target_column, source_lang, target_lang.
  void columns(DatasetOptions& to);
  void inference(InferenceOptions& to);

  // Parses argv[first..]. Returns false if --help was given; the help is printed to stdout.
  bool parse(int argc, char** argv, int first);
  bool given(const std::string& name) const;
  // On the command line, not in the --config file or the environment.
  bool typed(const std::string& name) const;

  std::vector<std::string> names() const;
  // An option, its values as they were given (none if it was not), and where: "flag", "FILE: key",
  // "environment GRAFT_NAME"; "" = nowhere.
  struct Setting {
    std::string name, shown_default, source;
    std::vector<std::string> values;
    bool training = false, is_list = false;
  };
  std::vector<Setting> settings() const;

 private:
  struct Option {
    std::string name, help, shown_default;
    bool is_flag = false, is_list = false, is_text = false, may_be_empty = false, takes_object = false;
    bool required = false, training = false;
    bool or_switch = false;  // a text that may be true or false
    std::function<void(const std::vector<std::string>&)> set;
    bool given = false;
    std::vector<std::string> values;
    std::string source;
  };
  Option& add(const std::string& name, const std::string& help);
  Option& add_training_argument(const train::Argument& a, TrainingArguments& to);
  Option* find(const std::string& name);
  std::string canonical(const std::string& name);
  [[noreturn]] void refuse_unknown(const std::string& name) const;
  // `source` as in Setting. An option that a former source has set stays as it is.
  void set(const std::string& name, const std::vector<std::string>& values, const std::string& source);
  void set_from_file(const std::string& file, const std::string& key, const Json& value);
  void read_config(const std::string& file);
  // GRAFT_NAME for each option, or for one.
  void read_environment(const std::string& only = "");
  void print_help() const;

  std::string verb_, summary_;
  std::vector<std::string> examples_;
  std::vector<Option> options_;
  std::string config_;
  TrainingArguments* training_ = nullptr;
};

}  // namespace graft::cli
