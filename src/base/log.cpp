#include "base/log.h"

#include <mutex>
#include <utility>

namespace graft {
namespace {
std::mutex mutex;
LogSink sink;
}  // namespace

LogSink set_log_sink(LogSink next) {
  const std::lock_guard lock(mutex);
  return std::exchange(sink, std::move(next));
}

void log_message(LogLevel level, const std::string& text) {
  const std::lock_guard lock(mutex);
  if (sink) sink(level, text);
}

}  // namespace graft
