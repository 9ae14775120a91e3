#include "transfer/scoring.h"

#include <cmath>
#include <limits>

#include "base/error.h"
#include "tasks/task_table.h"
#include "train/parts.h"
#include "train/saved_arguments.h"

namespace graft::transfer {
namespace fs = std::filesystem;

Scorer::Scorer(const Model& model, const fs::path& folder, const fs::path& test_file, DatasetOptions columns,
               const std::string& language) {
  const tasks::TaskEntry& task = tasks::task_of(model);
  TrainingArguments arguments = train::saved_arguments(folder);
  const tasks::Input input = input_of(task, arguments.span_corruption);
  TaskData data;
  if (input == tasks::Input::text) {
    data.eval_files = {test_file};
    data.columns = columns;
  } else {
    tasks::set_layout(columns, input);
    data.eval = Dataset::from_file(test_file, columns);
    if (data.eval.size() == 0) fail("{}: there is nothing to evaluate on", test_file.string());
  }
  data.tokenizer = Tokenizer::from_pretrained(folder);
  arguments.max_seq_length = train::inference_length(0, arguments, model, *data.tokenizer);
  arguments.per_device_eval_batch_size = 32;
  if (!language.empty()) arguments.language = language;
  arguments.bf16 = train::inference_precision(std::nullopt, arguments).bf16;
  trainer_ = std::make_unique<Trainer>(model, arguments, std::move(data));
}

Scorer::~Scorer() = default;

LogEntry Scorer::evaluate() {
  LogEntry out;
  for (auto& [name, value] : trainer_->evaluate())
    out.emplace_back(name.starts_with("eval_") ? name.substr(5) : name, value);
  return out;
}

std::string Scorer::metric() const { return trainer_->parts().features.task->primary_metric().name; }

double value_of(const LogEntry& entry, const std::string& name) {
  for (const auto& [key, value] : entry)
    if (key == name) return value;
  return std::numeric_limits<double>::quiet_NaN();
}

}  // namespace graft::transfer
