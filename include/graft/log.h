// Log messages of the library (truncated texts, unknown tokens, label order). The program installs a sink;
// without one, messages are dropped.
#pragma once
#include <functional>
#include <string>

#include "graft/export.h"

namespace graft {

enum class LogLevel { info, warning };

using LogSink = std::function<void(LogLevel, const std::string&)>;

// Installs the sink of the process and returns the previous one. Thread-safe. Calls to the sink are
// serialised and may come from any thread. An empty function drops messages.
GRAFT_API LogSink set_log_sink(LogSink sink);

}  // namespace graft
