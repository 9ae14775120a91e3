// A model, data and arguments for every task of the table, so that what holds for all of them is tested by a
// walk.
#pragma once
#include "tasks/task_table.h"
#include "train/tiny_run.h"

namespace graft::test {

// A task, and what its data or its loss are where it has several kinds.
struct TaskCase {
  const tasks::TaskEntry* task;
  std::string kind;
  std::string name() const { return task->head->task + (kind.empty() ? "" : " (" + kind + ")"); }
};
// Every entry of the task table. A new task gets its data in every_task.cpp.
std::vector<TaskCase> every_task();

struct TaskSizes {
  int64_t hidden_size = 32, layers = 2, heads = 4, intermediate_size = 64;
  int64_t vocab_size = 0;  // 0 = that of the tokenizer
  int64_t max_positions = 40;
  int shortest = 2, longest = 6;  // words of a text
};

class EveryTask {
 public:
  explicit EveryTask(const TaskSizes& sizes = {}) : sizes_(sizes) {}
  // Random weights, dropout 0.1.
  Model model(const TaskCase& c) const;
  TaskData data(const TaskCase& c, int train, int eval) const;
  TrainingArguments arguments(const TaskCase& c) const;
  const TinyRun& run() const { return run_; }

 private:
  Dataset rows(const TaskCase& c, int n, uint64_t seed) const;
  TinyRun run_;
  TaskSizes sizes_;
};

}  // namespace graft::test
