#include "cli/print_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"
#include "train/arguments.h"
#include "train/saved_arguments.h"

namespace graft::cli {
namespace {

struct Line {
  std::string name;
  Json value;
  std::string source;
};

std::string shown_value(const Json& value) {
  if (value.is_string()) return value.get<std::string>().empty() ? "\"\"" : value.get<std::string>();
  return value.dump();
}

std::vector<Line> config_lines(const Options& options, TrainingArguments arguments,
                               bool has_evaluation_data) {
  const Json given = train::to_json(arguments);
  train::settle(arguments);
  if (!arguments.do_eval) arguments.do_eval = has_evaluation_data;
  const train::Precision precision = train::training_precision(arguments.bf16);
  arguments.bf16 = precision.bf16;
  const Json settled = train::to_json(arguments);
  std::vector<Line> lines;
  for (const Options::Setting& s : options.settings()) {
    if (s.name == "print_config") continue;
    if (!s.training) {
      if (!s.source.empty())
        lines.push_back({s.name, s.is_list ? Json(s.values) : Json(s.values.front()), s.source});
      else
        lines.push_back({s.name, s.shown_default.empty() ? Json(nullptr) : Json(s.shown_default), "default"});
      continue;
    }
    const bool derived = s.source.empty() && !(given.at(s.name) == settled.at(s.name));
    lines.push_back({s.name, settled.at(s.name),
                     !s.source.empty() ? s.source
                     : derived         ? "derived"
                                       : "default"});
  }
  return lines;
}

}  // namespace

void print_config(const Options& options, TrainingArguments arguments, bool has_evaluation_data, bool json) {
  const std::vector<Line> lines = config_lines(options, std::move(arguments), has_evaluation_data);
  if (json) {
    Json all = Json::object();
    for (const Line& line : lines) all[line.name] = {{"value", line.value}, {"source", line.source}};
    fmt::print("{}\n", all.dump(2));
    return;
  }
  size_t name_width = 0, value_width = 0;
  for (const Line& line : lines) {
    name_width = std::max(name_width, line.name.size());
    value_width = std::max(value_width, std::min<size_t>(shown_value(line.value).size(), 40));
  }
  for (const Line& line : lines)
    fmt::print("{:{}}  {:{}}  {}\n", line.name, name_width, shown_value(line.value), value_width,
               line.source);
}

}  // namespace graft::cli
