#include "tasks/task_table.h"

#include "base/error.h"
#include "models/registry.h"
#include "tasks/causal_lm.h"
#include "tasks/masked_lm.h"
#include "tasks/multiple_choice.h"
#include "tasks/question_answering.h"
#include "tasks/replaced_tokens.h"
#include "tasks/sentence_embedding.h"
#include "tasks/seq2seq_lm.h"
#include "tasks/sequence_classification.h"
#include "tasks/token_classification.h"

namespace graft::tasks {

std::vector<const TaskEntry*>& task_table() {
  static std::vector<const TaskEntry*> table = {&sequence_classification_task(),
                                                &token_classification_task(),
                                                &masked_lm_task(),
                                                &causal_lm_task(),
                                                &seq2seq_lm_task(),
                                                &question_answering_task(),
                                                &multiple_choice_task(),
                                                &sentence_embedding_task(),
                                                &replaced_tokens_task()};
  return table;
}

const TaskEntry& find_task(const std::string& name) {
  const std::string task = models::canonical_task(name);
  for (const TaskEntry* entry : task_table())
    if (task == entry->head->task) return *entry;
  fail("the head {} has no task in the table", task);
}

void set_layout(DatasetOptions& options, Input input) {
  options.text_to_text = input == Input::source_and_target;
  options.tagged_words = input == Input::tagged_words;
  options.tuples = input == Input::text_tuples;
  options.questions = input == Input::questions;
  options.choices = input == Input::choices;
  options.require_label = !options.text_to_text && !options.tuples && !options.tagged_words;
}

const TaskEntry& default_task() { return *task_table().front(); }

std::string task_names() {
  std::string names;
  for (const TaskEntry* entry : task_table())
    names += fmt::format("{}{} ({})", names.empty() ? "" : ", ", entry->head->task, entry->head->alias);
  return names;
}

const TaskEntry& task_of(const Model& model) { return find_task(model.task()); }

PreparedTask prepare_task(Model& model, const TaskData& data, const FeatureSettings& settings) {
  const TaskEntry& task = task_of(model);
  for (const Dataset* set : {&data.train, &data.eval, &data.test})
    if (set->in_file() && !task.takes_rows_in_file)
      fail_with("read the file without DatasetOptions::keep_in_file",
                "{}: the task {} needs its rows in memory", set->origin(), task.head->task);
  return task.prepare(model, data, settings);
}

}  // namespace graft::tasks
