// TrainingArguments by name: one line per option, read by the command line, by --config files and by the
// saved json.
#pragma once
#include <string>
#include <variant>
#include <vector>

#include "base/json.h"
#include "graft/trainer.h"
#include "train/argument_values.h"

namespace graft::train {

struct Argument {
  using Member =
      std::variant<bool TrainingArguments::*, std::optional<bool> TrainingArguments::*,
                   int64_t TrainingArguments::*, uint64_t TrainingArguments::*, double TrainingArguments::*,
                   std::string TrainingArguments::*, std::optional<uint64_t> TrainingArguments::*,
                   std::optional<int64_t> TrainingArguments::*, std::optional<double> TrainingArguments::*>;
  const char* name;
  Member member;
  const char* help;
  Range range{};  // of numbers; the default is allowed even outside the range
  // A list is several values, which set_argument takes with commas between them.
  enum class Form : uint8_t { single, list, text_or_switch } form = Form::single;
};

const std::vector<Argument>& argument_table();
bool takes_list(const std::string& name);
bool is_switch(const Argument& argument);    // a bool: "--do_train" alone means true
bool takes_object(const std::string& name);  // json, written as an object in a --config file

// Sets one option from text ("1e-4", "10_000", "true"). Aliases are accepted. Throws UsageError with the
// reason for an option of the reference that graft refuses or does not implement, and with the nearest name
// for an unknown one.
void set_argument(TrainingArguments& arguments, const std::string& name, const std::string& value);
// The canonical name of an alias ("evaluation_strategy" -> "eval_strategy"), the name itself otherwise.
std::string canonical_argument(const std::string& name);
// Whether the name is an option of graft or of the reference, including refused ones.
bool is_argument(const std::string& name);

// UsageError for a value outside of its range or its choices.
void check(const TrainingArguments& arguments);
// Shows the messages of a --log_level in this process; passive leaves them as they are.
void use_log_level(const std::string& name);
// "~/results" -> "/home/me/results".
void expand_home(std::string& path);
// Logs which values have no effect because of others. Before settle().
void explain(const TrainingArguments& arguments);
// check(), then derives dependent values, as the reference's __post_init__.
void settle(TrainingArguments& arguments);
Json to_json(const TrainingArguments& arguments);

// Whether the run continues from a checkpoint, and whether its best evaluation is looked for.
bool resumes(const TrainingArguments& arguments);
bool tracks_best(const TrainingArguments& arguments);

}  // namespace graft::train
