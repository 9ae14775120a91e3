// The table of tasks. An entry holds everything that the trainer, the command line, parity and info need to
// know of a task; none of them compares a task's name.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/labels.h"
#include "graft/model.h"
#include "graft/task_data.h"
#include "models/family.h"
#include "tasks/question_settings.h"
#include "tasks/task.h"

namespace graft::tasks {

// What the data files of a task hold.
enum class Input : uint8_t {
  labelled_rows,
  text,
  source_and_target,
  tagged_words,
  text_tuples,
  questions,
  choices
};
// What prediction answers: a label and its score, tokens for each mask, the loss of a text, a text, entities,
// an embedding, a span of a context, one of several choices, or nothing.
enum class Answer : uint8_t {
  labels,
  mask_fills,
  text_scores,
  texts,
  entities,
  embeddings,
  spans,
  choices,
  none
};

// The training arguments that decide the features.
struct FeatureSettings {
  int64_t max_seq_length = 0;
  double mlm_probability = 0.15;
  bool whole_word_mask = false, span_mask = false;
  double geometric_p = 0.2;  // of span_mask
  int64_t span_upper = 10;
  bool line_by_line = false;  // each line of text is a sequence
  bool join_texts = false;    // attention and positions cross the texts of a block, as in run_clm
  int64_t max_target_length = 128;
  std::string source_prefix{};
  bool span_corruption = false;  // text, of which the model learns to write missing spans
  double mean_noise_span_length = 3;
  bool predict_with_generate = false;
  int64_t generation_max_length = 0, generation_num_beams = 0;
  std::string loss{};  // of embeddings; "" = as the data has it
  double scale = 20, triplet_margin = 5;
  std::string distance_metric = "euclidean";
  bool gradient_cache = false;  // the examples of a whole step are one batch of the loss
  int64_t batch_size = 8, gradient_accumulation_steps = 1;
  int64_t max_tokens_per_batch = 0;  // > 0: batches are not of batch_size examples
  bool drop_last = false;
  QuestionSettings questions{};
  bool label_all_tokens = false;
  std::optional<int64_t> stride{};
  bool strict_entities = false, return_entity_level_metrics = false;
  // Folder of the cache of tokenised text; "" = chosen by the size of the files, none = no cache.
  std::optional<std::string> tokenized_path{};
  bool overwrite_cache = false;
  uint64_t seed = 42;
  bool evaluates = false;  // evaluation is requested
};

// A task with its data. Features are null without such data.
struct PreparedTask {
  std::unique_ptr<Task> task;
  std::unique_ptr<Features> train, eval, test;
};

struct TaskEntry {
  const models::HeadKind* head;  // name, alias, and the head that it trains
  Input input;
  Answer answer;
  int64_t default_length;  // tokens of a sequence if none is asked for; 0 = the model's limit
  // Training arguments that decide its features; no other task takes them. Evaluation of a saved model
  // follows them.
  std::vector<const char*> own_options;

  // Sets the head's labels and problem_type from the training data; null for a task without labels.
  void (*choose_head)(ModelOptions& options, const data::CheckpointLabels& checkpoint, const TaskData& data);
  // Loss and metrics for a model. `labels`: their type in the data.
  std::unique_ptr<Task> (*make_task)(const Model& model, LabelKind labels);
  // Encodes the data and logs what there is to know of it. Throws Error for data that do not fit the model.
  PreparedTask (*prepare)(Model& model, const TaskData& data, const FeatureSettings& settings);
  // Adds labels, as many as in training, to a batch of sequences: for planning memory.
  void (*add_sample_labels)(data::RaggedBatch& batch, const Model& model);
  bool takes_rows_in_file = false;  // DatasetOptions::keep_in_file
};

// What its files hold: sources and targets become text where the model learns from corrupted spans.
inline Input input_of(const TaskEntry& task, bool span_corruption) {
  return span_corruption && task.input == Input::source_and_target ? Input::text : task.input;
}

// How such files are read for training and evaluation.
void set_layout(DatasetOptions& options, Input input);

// The tasks, in the order of messages. A program may append tasks of its own before it trains.
std::vector<const TaskEntry*>& task_table();

// The entry of a task's name or alias. Throws UsageError with the nearest name.
const TaskEntry& find_task(const std::string& name);
const TaskEntry& task_of(const Model& model);
// TaskEntry::prepare of its task. Throws Error for rows that stay in their file where the task does not take
// them.
PreparedTask prepare_task(Model& model, const TaskData& data, const FeatureSettings& settings);
// The task where none is named.
const TaskEntry& default_task();
// "sequence-classification (text-classification), masked-lm (fill-mask)", for --help.
std::string task_names();

}  // namespace graft::tasks
