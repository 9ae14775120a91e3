#include "cli/environment.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>

#include "base/nearest.h"
#include "cli/console.h"
#include "train/arguments.h"

namespace graft::cli {
namespace {

// Variables that the program, its tests and its scripts read.
const std::vector<std::string>& project_variables() {
  static const std::vector<std::string> names = {
      "GRAFT_BUILD",        "GRAFT_CHECKPOINT",    "GRAFT_INTEROP_DIR",        "GRAFT_ISA",
      "GRAFT_JSON",         "GRAFT_UNITY",         "GRAFT_REQUIRE_CHECKPOINT", "GRAFT_SHARED",
      "GRAFT_TEXT_METRICS", "GRAFT_TOKEN_METRICS",
  };
  return names;
}

bool is_project_variable(const std::string& name) {
  const auto& names = project_variables();
  return name.starts_with("GRAFT_TEST_") || std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

std::vector<std::pair<std::string, std::string>> option_variables() {
  std::vector<std::pair<std::string, std::string>> out;
  for (char** entry = environ; *entry; ++entry) {
    const std::string text = *entry;
    const size_t equals = std::min(text.find('='), text.size());
    const std::string variable = text.substr(0, equals);
    if (!variable.starts_with("GRAFT_") || equals + 1 >= text.size() || is_project_variable(variable))
      continue;
    std::string name = variable.substr(6);
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    out.emplace_back(name, text.substr(equals + 1));
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::string variable_of(const std::string& option) {
  std::string name = "GRAFT_" + option;
  for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

void warn_of_misspelt_variables(const std::vector<std::string>& options, bool all) {
  std::vector<std::string> known = {"GRAFT_ISA", "GRAFT_SHARED"};
  for (const std::string& option : options) known.push_back(variable_of(option));
  for (const auto& [name, value] : option_variables()) {
    const std::string variable = variable_of(name);
    if (train::is_argument(name) || std::find(known.begin(), known.end(), variable) != known.end()) continue;
    const std::string near = nearest_name(variable, known);
    if (near.empty() && !all) continue;
    say(fmt::format("warning: the environment variable {} has no effect{}", variable,
                    near.empty() ? ": it names no option of `graft train`" : "; did you mean " + near + "?"));
  }
}

}  // namespace graft::cli
