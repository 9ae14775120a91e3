#include "tasks/task_table.h"

#include "base/error.h"
#include "models/registry.h"
#include "tasks/causal_lm.h"
#include "tasks/masked_lm.h"
#include "tasks/multiple_choice.h"
#include "tasks/question_answering.h"
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
                                                &sentence_embedding_task()};
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
  options.tuples = input == Input::text_tuples;
  options.questions = input == Input::questions;
  options.choices = input == Input::choices;
  options.require_label = !options.text_to_text && !options.tuples;
}

const TaskEntry& default_task() { return *task_table().front(); }

std::string task_names() {
  std::string names;
  for (const TaskEntry* entry : task_table())
    names += fmt::format("{}{} ({})", names.empty() ? "" : ", ", entry->head->task, entry->head->alias);
  return names;
}

const TaskEntry& task_of(const Model& model) { return find_task(model.task()); }

}  // namespace graft::tasks
