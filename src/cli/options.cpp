#include "cli/options.h"

#include <fmt/format.h>

#include <toml++/toml.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <sstream>

#include "base/error.h"
#include "base/json.h"
#include "base/nearest.h"
#include "train/arguments.h"

namespace graft::cli {
namespace {

// "--weight-decay=0.1" -> "--weight_decay=0.1"; values are left alone.
std::string with_underscores(const std::string& arg) {
  if (!arg.starts_with("--")) return arg;
  const size_t end = std::min(arg.find('='), arg.size());
  std::string out = arg;
  std::replace(out.begin() + 2, out.begin() + static_cast<std::ptrdiff_t>(end), '-', '_');
  return out;
}

std::vector<std::string> values_of(const Json& value, const std::string& key) {
  if (value.is_string()) return {value.get<std::string>()};
  if (value.is_boolean() || value.is_number()) return {value.dump()};
  if (value.is_null()) return {};
  if (value.is_array()) {
    std::vector<std::string> out;
    for (const Json& v : value) out.push_back(v.is_string() ? v.get<std::string>() : v.dump());
    return out;
  }
  throw UsageError(fmt::format("\"{}\" has a value that no option takes", key));
}

Json read_toml(const std::string& file) {
  try {
    const toml::table table = toml::parse_file(file);
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
  text("config", config_, "json or toml file with any of these options; the command line goes first");
}

void Options::text(const std::string& name, std::string& to, const std::string& help, bool required) {
  Option o;
  o.name = name;
  o.help = help;
  o.required = required;
  o.shown_default = to;
  o.set = [&to](const std::vector<std::string>& v) { to = v.front(); };
  options_.push_back(std::move(o));
}

void Options::list(const std::string& name, std::vector<std::string>& to, const std::string& help) {
  Option o;
  o.name = name;
  o.help = help;
  o.is_list = true;
  o.set = [&to](const std::vector<std::string>& v) { to = v; };
  options_.push_back(std::move(o));
}

void Options::integer(const std::string& name, int64_t& to, const std::string& help) {
  Option o;
  o.name = name;
  o.help = help;
  if (to >= 0) o.shown_default = std::to_string(to);
  o.set = [&to, name](const std::vector<std::string>& v) { to = train::parse_integer(name, v.front()); };
  options_.push_back(std::move(o));
}

void Options::flag(const std::string& name, bool& to, const std::string& help) {
  Option o;
  o.name = name;
  o.help = help;
  o.is_flag = true;
  o.shown_default = to ? "true" : "false";
  o.set = [&to, name](const std::vector<std::string>& v) {
    to = train::parse_switch(name, v.empty() ? "" : v.front());
  };
  options_.push_back(std::move(o));
}

void Options::training_arguments(TrainingArguments& to) {
  training_ = &to;
  const Json defaults = train::to_json(to);
  for (const train::Argument& a : train::argument_table()) {
    Option o;
    o.name = a.name;
    o.help = a.help;
    o.is_flag = train::is_switch(a);
    o.training = true;
    const Json& d = defaults[a.name];
    o.shown_default = d.is_string() ? d.get<std::string>() : d.is_null() ? "" : d.dump();
    o.set = [&to, name = o.name](const std::vector<std::string>& v) {
      train::set_argument(to, name, v.empty() ? "" : v.front());
    };
    options_.push_back(std::move(o));
  }
}

void Options::columns(DatasetOptions& to) {
  text("text_column", to.text_column, "column of the text; default: text, sentence, sentence1, premise, ...");
  text("text_pair_column", to.text_pair_column, "column of the second text of a pair");
  text("label_column", to.label_column, "column of the label; default: label, labels");
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

std::vector<std::string> Options::names() const {
  std::vector<std::string> out = {"help"};
  for (const Option& o : options_) out.push_back(o.name);
  return out;
}

void Options::set(const std::string& given_name, const std::vector<std::string>& values, bool from_file) {
  const std::string name = training_ ? train::canonical_argument(given_name) : given_name;
  Option* o = find(name);
  if (!o) {
    const std::string near = nearest_name(name, names());
    if (training_ && (!train::refusal(name).empty() || train::is_built_in(name))) {
      train::set_argument(*training_, name, values.empty() ? "" : values.front());  // or says why not
      return;
    }
    throw UsageError(
        fmt::format("--{} is not an option of `graft {}`", given_name, verb_),
        near.empty() ? fmt::format("graft {} --help lists them", verb_) : "did you mean --" + near + "?");
  }
  if (from_file && o->given) return;
  if (values.empty() && !o->is_flag) {
    if (from_file) return;  // null: the default
    throw UsageError(fmt::format("--{} needs a value", given_name));
  }
  if (values.size() > 1 && !o->is_list) {
    throw UsageError(fmt::format("--{} takes one value, not also \"{}\"", given_name, values[1]));
  }
  o->set(values);
  o->given = true;
}

void Options::read_config(const std::string& file) {
  const Json json = file.ends_with(".toml") ? read_toml(file) : read_json(file);
  if (!json.is_object()) throw UsageError(fmt::format("{}: an object of options was expected", file));
  for (const auto& [key, value] : json.items()) {
    try {
      set(with_underscores("--" + key).substr(2), values_of(value, key), true);
    } catch (const UsageError& e) {
      throw UsageError(fmt::format("{}: {}", file, e.what()), e.hint());
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
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  std::vector<std::pair<std::string, std::vector<std::string>>> found;
  for (const Option& o : options_) {
    auto* option = app.add_option("--" + o.name, [&found, &o](const CLI::results_t& values) {
      found.emplace_back(o.name, values.front().empty() ? CLI::results_t() : values);
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
  for (const std::string& extra : app.remaining()) {  // aliases, refused and unknown names, with their values
    if (extra.starts_with("--")) {
      const size_t equals = extra.find('=');
      found.emplace_back(extra.substr(2, equals == std::string::npos ? equals : equals - 2),
                         CLI::results_t());
      if (equals != std::string::npos) found.back().second.push_back(extra.substr(equals + 1));
    } else if (!found.empty() && !find(found.back().first)) {
      found.back().second.push_back(extra);
    } else {
      throw UsageError(fmt::format("\"{}\" does not belong to any option", extra),
                       fmt::format("graft {} --help lists the options", verb_));
    }
  }
  for (const auto& [name, values] : found) set(name, values, false);
  if (!config_.empty()) read_config(config_);
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
    if (!o.training) print(o);
  }
  if (training_) fmt::print("\nTraining arguments (names and defaults of Hugging Face):\n");
  for (const Option& o : options_) {
    if (o.training) print(o);
  }
  fmt::print("\nNames may be written with dashes (--learning-rate), numbers with _ (10_000).\n");
}

}  // namespace graft::cli
