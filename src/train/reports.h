// Reports of a run beside the log on stderr: event files for TensorBoard and json lines (--report_to).
#pragma once
#include <memory>
#include <set>
#include <string>

#include "base/json.h"
#include "graft/trainer.h"
#include "report/event_file.h"
#include "report/json_log.h"

namespace graft::train {

// The reports of a list ("tensorboard,jsonl", "all", "none"). Throws UsageError for one that graft lacks.
std::set<std::string> parse_reports(const std::string& list);

// The words of a list with commas.
std::vector<std::string> words_of(const std::string& list);

class Reports {
 public:
  // Opens the reports of a run that goes on after `step`. Throws Error if a file cannot be written.
  Reports(const TrainingArguments& arguments, int64_t step);
  // A line of the log with "step". A report that can no longer be written ends with a warning: a full disk
  // must not end the run.
  void add(const Json& line);

 private:
  std::unique_ptr<report::JsonLog> json_;
  std::unique_ptr<report::EventFile> events_;
};

}  // namespace graft::train
