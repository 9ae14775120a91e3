// A command line of `graft adapt`, and what is found in its output.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "cli/graft_program.h"

namespace graft::test {

inline std::vector<std::string> adapt_args(const World& world, const std::string& model,
                                           const std::string& output, const std::vector<std::string>& more) {
  std::vector<std::string> args = {
      "adapt", "--model",         model,  "--output_dir", world / output, "--max_seq_length",
      "24",    "--learning_rate", "3e-3", "--head_steps", "10",           "--near_duplicates",
      "2"};
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

// Stage folders of an output, by the name before the hash.
inline std::filesystem::path stage_of(const std::string& output, const std::string& name) {
  for (const auto& entry : std::filesystem::directory_iterator(output + "/stages")) {
    const std::string file = entry.path().filename().string();
    if (file.size() == name.size() + 17 && file.starts_with(name + "-")) return entry.path();
  }
  ADD_FAILURE() << "no stage " << name << " in " << output;
  return {};
}

inline const Json& row_of(const Json& rows, const std::string& key, const std::string& name) {
  for (const Json& row : rows)
    if (row[key] == name) return row;
  ADD_FAILURE() << "no row " << name;
  return rows[0];
}

}  // namespace graft::test
