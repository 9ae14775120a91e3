// What the library has to say (truncated texts, unknown tokens, label order) goes to a sink that the program
// installs; without one it is dropped.
#pragma once
#include <functional>
#include <string>

namespace graft {

enum class LogLevel { info, warning };

using LogSink = std::function<void(LogLevel, const std::string&)>;

// Installs the sink for the process (thread-safe; calls come one at a time, from any thread); an empty
// function drops messages. Returns the former one.
LogSink set_log_sink(LogSink sink);

}  // namespace graft
