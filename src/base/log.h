// Messages of the library to the sink of graft/log.h.
#pragma once
#include <fmt/core.h>

#include <cstdint>
#include <string>

#include "graft/log.h"

namespace graft {

void log_message(LogLevel level, const std::string& text);

// Which messages of this process reach the sink: all, warnings or none.
enum class LogThreshold : uint8_t { all, warnings, none };
void set_log_threshold(LogThreshold threshold);
bool is_logged(LogLevel level);

template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log_message(LogLevel::info, fmt::vformat(format, fmt::make_format_args(args...)));
}
template <class... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  log_message(LogLevel::warning, fmt::vformat(format, fmt::make_format_args(args...)));
}

}  // namespace graft
