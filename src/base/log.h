// What the library has to say goes to a sink that the program installs; without one it is dropped.
#pragma once
#include <fmt/core.h>

#include <functional>
#include <string>

namespace graft {

enum class LogLevel { info, warning };

using LogSink = std::function<void(LogLevel, const std::string&)>;

// Installs the sink for the process (thread-safe); an empty function drops messages. Returns the former one.
LogSink set_log_sink(LogSink sink);
void log_message(LogLevel level, const std::string& text);

template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log_message(LogLevel::info, fmt::vformat(format, fmt::make_format_args(args...)));
}
template <class... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  log_message(LogLevel::warning, fmt::vformat(format, fmt::make_format_args(args...)));
}

}  // namespace graft
