// The log of a run as json lines.
#pragma once
#include <cstdint>
#include <filesystem>

#include "base/json.h"
#include "report/growing_file.h"

namespace graft::report {

class JsonLog {
 public:
  // A run that begins (`step` 0) replaces the file of an earlier one. A run that continues after `step` keeps
  // its lines up to that step, so that no step is there twice.
  JsonLog(const std::filesystem::path& file, int64_t step);
  void add(const Json& line);  // has "step"

 private:
  GrowingFile file_;
};

}  // namespace graft::report
