// Silence while a part of a pipeline repeats what was said of its files.
#pragma once
#include "base/log.h"

namespace graft::transfer {

// While it lives nothing is logged.
class QuietLog {
 public:
  QuietLog()
      : former_(is_logged(LogLevel::info)      ? LogThreshold::all
                : is_logged(LogLevel::warning) ? LogThreshold::warnings
                                               : LogThreshold::none) {
    set_log_threshold(LogThreshold::none);
  }
  ~QuietLog() { set_log_threshold(former_); }
  QuietLog(const QuietLog&) = delete;
  QuietLog& operator=(const QuietLog&) = delete;

 private:
  LogThreshold former_;
};

}  // namespace graft::transfer
