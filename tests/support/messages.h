// What the library logs while this lives.
#pragma once
#include <string>

#include "base/log.h"

namespace graft::test {

class Messages {
 public:
  Messages() : former_(set_log_sink([this](LogLevel, const std::string& text) { all_ += text + "\n"; })) {}
  ~Messages() { set_log_sink(former_); }
  Messages(const Messages&) = delete;
  Messages& operator=(const Messages&) = delete;
  const std::string& all() const { return all_; }

 private:
  std::string all_;
  LogSink former_;
};

}  // namespace graft::test
