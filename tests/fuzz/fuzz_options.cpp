// Command lines and --config files: parsed, or a UsageError or Error. The first byte picks the form:
// arguments, one a line; json; toml.
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "cli/options.h"
#include "graft/error.h"

namespace {

void parse(std::vector<std::string> arguments) {
  std::string model, task;
  std::vector<std::string> files;
  int64_t samples = -1;
  bool json = false;
  graft::DatasetOptions columns;
  graft::TrainingArguments training;
  graft::cli::Options options("train", "fine-tune", {"graft train --model DIR"});
  options.text("model", model, "checkpoint", true);
  options.text("task", task, "task");
  options.list("train_file", files, "data");
  options.integer("max_train_samples", samples, "rows", {1, 1e12});
  options.flag("json", json, "json");
  options.columns(columns);
  options.training_arguments(training);
  arguments.insert(arguments.begin(), {"graft", "train"});
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  try {
    options.parse(static_cast<int>(arguments.size()), argv.data(), 2);
  } catch (const graft::Error&) {
  }
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    // An argument ends at its zero; help goes to stdout and ends the parsing.
    line.resize(std::min(line.find('\0'), line.size()));
    if (line != "--help" && line != "-h") lines.push_back(std::move(line));
    begin = end + 1;
  }
  return lines;
}

// The file of settings, one for this process.
std::string config_file(const char* extension, const std::string& content) {
  static const std::string stem = "/tmp/graft-fuzz-options-" + std::to_string(::getpid());
  const std::string path = stem + extension;
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 3 == 0) {
    parse(lines_of(rest));
    return 0;
  }
  const std::string file = config_file(data[0] % 3 == 1 ? ".json" : ".toml", rest);
  parse({"--config", file});
  ::unlink(file.c_str());
  return 0;
}
