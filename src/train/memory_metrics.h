// The memory of the process over the stages of a run, under the reference's names (skip_memory_metrics).
#pragma once
#include <cstdint>
#include <string>

#include "graft/trainer.h"

namespace graft::train {

// From construction to metrics(): a stage. Stages may nest.
class MemoryStage {
 public:
  MemoryStage();
  ~MemoryStage();
  MemoryStage(const MemoryStage&) = delete;
  MemoryStage& operator=(const MemoryStage&) = delete;
  // NAME_mem_cpu_alloc_delta: growth of the resident memory in bytes. NAME_mem_cpu_peaked_delta: how much
  // more there was in between than there is at the end.
  LogEntry metrics(const std::string& name);

 private:
  MemoryStage* outer_;
  uint64_t begin_, peak_ = 0;  // peak_: before an inner stage began its own
  void note_peak();
};

}  // namespace graft::train
