#include "base/log.h"

#include <atomic>
#include <mutex>
#include <utility>

namespace graft {
namespace {
std::mutex mutex;
LogSink sink;
std::atomic<LogThreshold> threshold = LogThreshold::all;
}  // namespace

void set_log_threshold(LogThreshold next) { threshold = next; }

bool is_logged(LogLevel level) {
  const LogThreshold t = threshold;
  return t == LogThreshold::all || (t == LogThreshold::warnings && level == LogLevel::warning);
}

LogSink set_log_sink(LogSink next) {
  const std::lock_guard lock(mutex);
  return std::exchange(sink, std::move(next));
}

void log_message(LogLevel level, const std::string& text) {
  if (!is_logged(level)) return;
  const std::lock_guard lock(mutex);
  if (sink) sink(level, text);
}

}  // namespace graft
