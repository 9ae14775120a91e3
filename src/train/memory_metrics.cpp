#include "train/memory_metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "base/memory.h"

namespace graft::train {
namespace {

thread_local MemoryStage* innermost = nullptr;

// Lets the kernel count the peak anew (proc(5), clear_refs). Where that is not allowed the peak is that of
// the whole process.
void restart_peak() {
  const int fd = ::open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  [[maybe_unused]] const auto written = ::write(fd, "5", 1);
  ::close(fd);
}

}  // namespace

MemoryStage::MemoryStage() : outer_(innermost), begin_(resident_memory()) {
  for (MemoryStage* stage = outer_; stage; stage = stage->outer_) stage->note_peak();
  innermost = this;
  restart_peak();
}

MemoryStage::~MemoryStage() {
  for (MemoryStage* stage = outer_; stage; stage = stage->outer_) stage->note_peak();
  innermost = outer_;
}

void MemoryStage::note_peak() { peak_ = std::max(peak_, peak_resident_memory()); }

LogEntry MemoryStage::metrics(const std::string& name) {
  note_peak();
  const uint64_t now = resident_memory();
  return {{name + "_mem_cpu_alloc_delta", static_cast<double>(now) - static_cast<double>(begin_)},
          {name + "_mem_cpu_peaked_delta", static_cast<double>(peak_ > now ? peak_ - now : 0)}};
}

}  // namespace graft::train
