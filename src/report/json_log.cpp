#include "report/json_log.h"

#include <sstream>

#include "base/file.h"
#include "base/folder.h"

namespace graft::report {
namespace {

// A line that a killed process wrote in part is dropped.
bool is_up_to(const std::string& line, int64_t step) {
  try {
    const Json json = Json::parse(line);
    return json.is_object() && json.value("step", int64_t{0}) <= step;
  } catch (const Error&) {
    return false;
  }
}

std::filesystem::path with_lines_up_to(const std::filesystem::path& file, int64_t step) {
  if (!path_exists(file)) return file;
  std::string kept;
  std::istringstream lines(step > 0 ? read_file(file) : "");
  for (std::string line; std::getline(lines, line);)
    if (is_up_to(line, step)) kept += line + "\n";
  write_file(file, kept);
  return file;
}

}  // namespace

JsonLog::JsonLog(const std::filesystem::path& file, int64_t step) : file_(with_lines_up_to(file, step)) {}

void JsonLog::add(const Json& line) { file_.append(line.dump() + "\n"); }

}  // namespace graft::report
