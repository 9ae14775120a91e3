#include "cli/options.h"

#include <fmt/ranges.h>

#include <toml++/toml.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/shown.h"
#include "base/threads.h"
#include "cli/console.h"
#include "cli/environment.h"
#include "cli/suggestions.h"
#include "data/json_values.h"
#include "train/arguments.h"
#include "train/older_names.h"
#include "train/reference_arguments.h"

namespace graft::cli {
namespace {

constexpr const char* kFlag = "flag";

// "--weight-decay=0.1" -> "--weight_decay=0.1"; values are unchanged.
std::string with_underscores(const std::string& arg) {
  if (!arg.starts_with("--")) return arg;
  const size_t end = std::min(arg.find('='), arg.size());
  std::string out = arg;
  std::replace(out.begin() + 2, out.begin() + static_cast<std::ptrdiff_t>(end), '-', '_');
  return out;
}

std::string text_of(const Json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

std::vector<std::string> values_of(const Json& value) {
  if (value.is_null()) return {};
  if (!value.is_array()) return {text_of(value)};
  std::vector<std::string> out;
  for (const Json& v : value) out.push_back(text_of(v));
  return out;
}

// The parser keeps one of two members of the same name.
void refuse_repeated_keys(const std::string& json) {
  data::JsonValues values(data::skip_space(json));
  std::set<std::string> seen;
  for (std::string_view key, value; values.next(key) && values.next(value);) {
    const std::string name = data::to_cell(key).text;
    if (!seen.insert(name).second)
      throw UsageError(fmt::format("\"{}\" is given twice", shown(name)), "keep one of the two");
  }
}

// The text without a byte order mark at its start.
std::string read_text(const std::string& file) {
  std::string text = read_file(file);
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  return text;
}

Json parse_toml(const std::string& text, const std::string& file) {
  try {
    const toml::table table = toml::parse(text, file);
    std::ostringstream out;
    out << toml::json_formatter(table);
    return parse_json(out.str(), file);
  } catch (const toml::parse_error& e) {
    throw UsageError(
        fmt::format("{}: line {}: {}", file, e.source().begin.line, std::string(e.description())));
  }
}

}  // namespace

Options::Options(std::string verb, std::string summary, std::vector<std::string> examples)
    : verb_(std::move(verb)), summary_(std::move(summary)), examples_(std::move(examples)) {
  text("config", config_, "json or toml file with any of these options; the command line overrides it");
}

Options::Option& Options::add(const std::string& name, const std::string& help) {
  Option o;
  o.name = name;
  o.help = help;
  options_.push_back(std::move(o));
  return options_.back();
}

void Options::explain(const std::string& name, const std::string& help) { find(name)->help = help; }

void Options::text(const std::string& name, std::string& to, const std::string& help, bool required) {
  Option& o = add(name, help);
  o.required = required;
  o.is_text = true;
  o.shown_default = to;
  o.set = [&to](const std::vector<std::string>& v) { to = v.front(); };
}

void Options::any_text(const std::string& name, std::string& to, const std::string& help) {
  text(name, to, help);
  options_.back().may_be_empty = true;
}

void Options::value(const std::string& name, const std::string& help, const std::string& shown_default,
                    std::function<void(const std::string&)> set) {
  Option& o = add(name, help);
  o.shown_default = shown_default;
  o.set = [set = std::move(set)](const std::vector<std::string>& v) { set(v.front()); };
}

void Options::list(const std::string& name, std::vector<std::string>& to, const std::string& help) {
  Option& o = add(name, help);
  o.is_list = o.is_text = true;
  o.set = [&to](const std::vector<std::string>& v) { to = v; };
}

void Options::integer(const std::string& name, int64_t& to, const std::string& help,
                      const train::Range& range) {
  Option& o = add(name, help);
  if (to >= 0) o.shown_default = std::to_string(to);
  o.set = [&to, name, range, fallback = to](const std::vector<std::string>& v) {
    to = train::parse_integer(name, v.front(), range);
    train::check_range(name, static_cast<double>(to), range, static_cast<double>(fallback));
  };
}

void Options::flag(const std::string& name, bool& to, const std::string& help) {
  Option& o = add(name, help);
  o.is_flag = true;
  o.shown_default = to ? "true" : "false";
  o.set = [&to, name](const std::vector<std::string>& v) {
    to = train::parse_switch(name, v.empty() ? "" : v.front());
  };
}

void Options::form(const std::string& name, const std::vector<std::string>& words, std::string& to,
                   const std::string& help) {
  Option& o = add(name, help);
  o.is_flag = true;
  o.set = [&to, name, words](const std::vector<std::string>& v) {
    to = v.empty() || v.front() == "true" ? words.front() : v.front();
    if (std::find(words.begin(), words.end(), to) == words.end())
      throw UsageError(fmt::format("--{} {} is not known; there are: {}", name, to, fmt::join(words, ", ")));
  };
}

void Options::precision(std::optional<bool>& to, const std::string& fallback) {
  Option& o = add("bf16", "matrix products in bf16 (true) or fp32 (false); default: " + fallback);
  o.is_flag = true;
  o.set = [&to](const std::vector<std::string>& v) {
    to = train::parse_switch("bf16", v.empty() ? "" : v.front());
  };
}

void Options::threads() {
  Option& o = add("num_threads", "threads to compute with; results do not depend on it; default: all CPUs");
  o.set = [](const std::vector<std::string>& v) {
    const int64_t n = train::parse_integer("num_threads", v.front());
    train::check_range("num_threads", static_cast<double>(n), {1, 1024});
    set_num_threads(static_cast<int>(n));
    threads_were_chosen();
  };
}

Options::Option& Options::add_training_argument(const train::Argument& a, TrainingArguments& to) {
  Option& o = add(a.name, a.help);
  o.is_flag = train::is_switch(a);
  o.is_text = std::holds_alternative<std::string TrainingArguments::*>(a.member);
  o.is_list = a.form == train::Argument::Form::list;
  o.or_switch = a.form == train::Argument::Form::text_or_switch;
  o.takes_object = train::takes_object(a.name);
  const Json d = train::to_json(to)[a.name];
  o.shown_default = d.is_string() ? d.get<std::string>() : d.is_null() ? "" : d.dump();
  o.set = [&to, name = o.name](const std::vector<std::string>& v) {
    train::set_argument(to, name, fmt::format("{}", fmt::join(v, ",")));
  };
  return o;
}

void Options::training_arguments(TrainingArguments& to) {
  training_ = &to;
  for (const train::Argument& a : train::argument_table()) add_training_argument(a, to).training = true;
}

void Options::training_argument(const std::string& name, TrainingArguments& to) {
  for (const train::Argument& a : train::argument_table()) {
    if (name != a.name) continue;
    Option& o = add_training_argument(a, to);
    o.help += "; default: as in training";
    o.shown_default.clear();
  }
}

void Options::columns(DatasetOptions& to) {
  text("text_column", to.text_column, "column of the text; default: text, sentence, sentence1, premise, ...");
  text("text_pair_column", to.text_pair_column, "column of the second text of a pair");
  text("label_column", to.label_column, "column of the label; default: label, labels");
  text("target_column", to.target_column,
       "text to text: column of what is to be written; default: target, summary, highlights, ...");
  text("tag_scheme", to.tag_scheme,
       "token-classification: iob1, iob2, bioes or bilou; tags that break it are an error; default: found "
       "from "
       "the tags, with a warning");
  flag("repair_tags", to.repair_tags, "token-classification: replace tags that break the scheme");
  text("source_lang", to.source_lang, "text to text: language of the source in rows of a 'translation'");
  text("target_lang", to.target_lang, "text to text: language of the target in rows of a 'translation'");
}

void Options::inference(InferenceOptions& to) {
  text("model", to.model, "fine-tuned or masked-lm model: a folder, or ORG/NAME[@revision] on the hub", true);
  text("load_lang_adapter", to.load_lang_adapter,
       "of a task adapter that was trained above a language adapter: that of another language in its place");
  columns(to.columns);
  integer("per_device_eval_batch_size", to.batch_size, "examples in a batch; results do not depend on it",
          {1, 1e6});
  integer("max_seq_length", to.max_seq_length, "tokens per example; default: as in training", {1, 1e9});
  precision(to.bf16, "as in training, fp32 where graft did not train the model");
  threads();
  flag("profile", to.profile, "also show time, rates and share of each operation");
}

Options::Option* Options::find(const std::string& name) {
  const auto it =
      std::find_if(options_.begin(), options_.end(), [&](const Option& o) { return o.name == name; });
  return it == options_.end() ? nullptr : &*it;
}

bool Options::given(const std::string& name) const {
  return std::any_of(options_.begin(), options_.end(),
                     [&](const Option& o) { return o.name == name && o.given; });
}

bool Options::typed(const std::string& name) const {
  return std::any_of(options_.begin(), options_.end(), [&](const Option& o) {
    return o.name == name && o.given &&
           (o.source == kFlag || o.source.starts_with(std::string(kFlag) + " --"));
  });
}

std::vector<std::string> Options::names() const {
  std::vector<std::string> out = {"help"};
  for (const Option& o : options_) out.push_back(o.name);
  return out;
}

// The option of an alias; other names are unchanged.
std::string Options::canonical(const std::string& name) {
  if (find(name)) return name;
  const std::string option = option_of_alias(name, names());
  return option == name && training_ ? train::canonical_argument(name) : option;
}

void Options::refuse_unknown(const std::string& name) const {
  const std::string near = suggested_option(name, names());
  throw UsageError(
      fmt::format("--{} is not an option of `graft {}`", name, verb_),
      near.empty() ? fmt::format("graft {} --help lists them", verb_) : "did you mean --" + near + "?");
}

std::vector<Options::Setting> Options::settings() const {
  std::vector<Setting> out;
  for (const Option& o : options_)
    out.push_back({o.name, o.shown_default, o.source, o.values, o.training, o.is_list});
  return out;
}

void Options::set(const std::string& given_name, const std::vector<std::string>& values,
                  const std::string& source) {
  const bool typed = source == kFlag;
  Option* o = find(canonical(given_name));
  if (!o) {
    if (!training_ || !train::is_argument(given_name)) refuse_unknown(given_name);
    if (!typed && values.empty()) return;  // null or []: the reference's default
    if (!typed && train::is_reference_default(given_name, fmt::format("{}", fmt::join(values, ", ")))) return;
    // Sets it, or throws with the reason. No such argument takes several values.
    train::set_argument(*training_, given_name, fmt::format("{}", fmt::join(values, ", ")));
    return;
  }
  if (!typed && o->given) {
    const std::string where = source.substr(0, source.find(": "));
    if (!o->source.starts_with(where + ": ") || source.find(": ") == std::string::npos) return;
    throw UsageError(fmt::format("--{} is given twice, as {} too", o->name, given_name));
  }
  if (values.empty() && !o->is_flag) {
    if (!typed) return;  // null: the default
    throw UsageError(fmt::format("--{} needs a value", given_name));
  }
  if (values.size() > 1 && !o->is_list) {
    throw UsageError(fmt::format("--{} takes one value, not also \"{}\"", given_name, values[1]));
  }
  if (!typed && values.empty()) return;
  // training_args.json repeats the defaults; nothing is said about them.
  const bool repeats = !typed && o->training && fmt::format("{}", fmt::join(values, ",")) == o->shown_default;
  if (!repeats) o->set(values);
  if (o->training && given_name != o->name) train::note_older_name(given_name);
  o->given = true;
  o->values = values.empty() ? std::vector<std::string>{"true"} : values;
  o->source = typed && given_name != o->name ? fmt::format("{} --{}", kFlag, given_name) : source;
}

void Options::set_from_file(const std::string& file, const std::string& key, const Json& value) {
  const std::string name = with_underscores("--" + key).substr(2);
  if (name == "config") throw UsageError("\"config\": a config file cannot name another");
  const Option* o = find(canonical(name));
  if (o && value.is_object() && o->takes_object)
    return set(name, {value.dump()}, fmt::format("{}: {}", file, key));
  if (o && value.is_object())
    throw UsageError(fmt::format("\"{}\" is an object; options take values or lists", key));
  if (o && value.is_array() && !o->is_list)
    throw UsageError(fmt::format("\"{}\": one value was expected, not {}", key, value.dump()),
                     o->is_text ? fmt::format("write \"{}\"", fmt::join(values_of(value), ",")) : "");
  if (o && o->is_text) {
    bool texts = true;
    if (value.is_array()) {
      for (const Json& v : value) texts = texts && v.is_string();
    } else {
      texts = value.is_string() || value.is_null() || (o->or_switch && value.is_boolean());
    }
    if (!texts) {
      throw UsageError(fmt::format("\"{}\": {} was expected, not {}", key,
                                   o->is_list ? "a text or a list of texts" : "a text", value.dump()),
                       value.is_number() ? fmt::format("write \"{}\"", value.dump()) : "");
    }
  }
  set(name, values_of(value), fmt::format("{}: {}", file, key));
}

void Options::read_config(const std::string& file) {
  const bool toml = file.ends_with(".toml");
  if (file.ends_with(".yaml") || file.ends_with(".yml"))
    throw UsageError(fmt::format("{}: yaml is not read", file), "write the options as .json or .toml");
  const std::string text = read_text(file);
  const Json json = toml ? parse_toml(text, file) : parse_json(text, file);
  if (!json.is_object()) throw UsageError(fmt::format("{}: an object of options was expected", file));
  try {
    if (!toml) refuse_repeated_keys(text);
    for (const auto& [key, value] : json.items()) set_from_file(file, key, value);
  } catch (const UsageError& e) {
    throw UsageError(fmt::format("{}: {}", file, e.what()), e.hint());
  }
}

void Options::read_environment(const std::string& only) {
  for (const auto& [name, value] : option_variables()) {
    const bool known = find(canonical(name)) || train::is_argument(name);  // main warned of others
    if (!known || (!only.empty() && name != only)) continue;
    const std::string variable = variable_of(name);
    try {
      set(name, {value}, "environment " + variable);
    } catch (const UsageError& e) {
      throw UsageError(fmt::format("environment variable {}: {}", variable, e.what()), e.hint());
    }
  }
}

bool Options::parse(int argc, char** argv, int first) {
  std::vector<std::string> args;  // CLI11 takes them from the end
  for (int i = argc - 1; i >= first; --i) {
    args.push_back(with_underscores(argv[i]));
    if (args.back() == "--help" || args.back() == "-h") {
      print_help();
      return false;
    }
  }
  // CLI11 hands an option without a value over like one with an empty value.
  const bool has_empty = std::any_of(argv + first, argv + argc, [](const std::string& arg) {
    return arg.empty() || (arg.starts_with("--") && arg.ends_with("="));
  });
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  std::vector<std::pair<std::string, std::vector<std::string>>> found;
  for (const Option& o : options_) {
    auto* option = app.add_option("--" + o.name, [&found, &o, has_empty](const CLI::results_t& values) {
      const bool none = values.front().empty() && !(o.may_be_empty && has_empty);
      found.emplace_back(o.name, none ? CLI::results_t() : values);
      return true;
    });
    option->expected(0, o.is_list ? CLI::detail::expected_max_vector_size : 1);
    if (o.is_list) option->allow_extra_args();  // `--train_file a b`
    if (!o.is_list) option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  }
  try {
    app.parse(args);
  } catch (const CLI::ParseError& e) {
    throw UsageError(e.what(), fmt::format("graft {} --help lists the options", verb_));
  }
  // Aliases, refused and unknown options with their values.
  for (const std::string& extra : app.remaining()) {
    if (extra.starts_with("--")) {
      const size_t equals = extra.find('=');
      found.emplace_back(extra.substr(2, equals == std::string::npos ? equals : equals - 2),
                         CLI::results_t());
      if (equals != std::string::npos) found.back().second.push_back(extra.substr(equals + 1));
    } else if (!found.empty() && !find(found.back().first)) {
      found.back().second.push_back(extra);
    } else if (extra.size() > 2 && extra[0] == '-' && std::isalpha(static_cast<unsigned char>(extra[1]))) {
      const std::string near = suggested_option(canonical(with_underscores("-" + extra).substr(2)), names());
      throw UsageError(fmt::format("\"{}\": an option begins with two dashes", extra),
                       near.empty() ? fmt::format("graft {} --help lists the options", verb_)
                                    : "did you mean --" + near + "?");
    } else {
      // `graft predict DIR`: the first option that is needed and not given.
      const auto needed = std::find_if(options_.begin(), options_.end(), [&](const Option& o) {
        return o.required &&
               std::none_of(found.begin(), found.end(), [&](const auto& f) { return f.first == o.name; });
      });
      throw UsageError(fmt::format("\"{}\" does not belong to any option", extra),
                       needed != options_.end()
                           ? fmt::format("did you mean --{} \"{}\"?", needed->name, extra)
                           : fmt::format("graft {} --help lists the options", verb_));
    }
  }
  for (const auto& [name, values] : found) set(name, values, kFlag);
  const bool has_environment = training_ != nullptr;
  if (has_environment && config_.empty()) read_environment("config");
  if (!config_.empty()) read_config(config_);
  if (has_environment) read_environment();
  for (const Option& o : options_) {
    if (o.required && !o.given) {
      throw UsageError(fmt::format("--{} is needed", o.name),
                       fmt::format("graft {} --help shows examples", verb_));
    }
  }
  return true;
}

void Options::print_help() const {
  fmt::print("graft {}: {}\n", verb_, summary_);
  if (!examples_.empty()) fmt::print("\nExamples:\n");
  for (const std::string& e : examples_) fmt::print("  {}\n", e);
  const auto print = [](const Option& o) {
    const std::string kind = o.is_flag ? "[true|false]" : o.is_list ? "VALUE..." : "VALUE";
    fmt::print("  --{} {}\n        {}{}{}\n", o.name, kind, o.help, o.required ? " (needed)" : "",
               o.shown_default.empty() || o.shown_default == "0" ? "" : " [" + o.shown_default + "]");
  };
  fmt::print("\nOptions:\n");
  for (const Option& o : options_) {
    if (!o.training && !o.help.empty()) print(o);
  }
  if (training_) fmt::print("\nTraining arguments (names and defaults of Hugging Face):\n");
  for (const Option& o : options_) {
    if (o.training && !o.help.empty()) print(o);
  }
  fmt::print(
      "\nDashes and underscores are interchangeable in option names; numbers may be written 10_000.\n");
}

}  // namespace graft::cli
