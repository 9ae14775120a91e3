#include "train/evaluate_dataset.h"

#include "base/error.h"
#include "tasks/sequence_classification.h"
#include "train/evaluation.h"
#include "train/examples.h"
#include "train/saved_arguments.h"

namespace graft::train {

LogEntry evaluate_dataset(Model& model, const Tokenizer& tokenizer, const Dataset& dataset,
                          int64_t max_seq_length, int64_t batch_size, const std::string& prefix) {
  if (dataset.size() == 0) fail("{}: there is nothing to evaluate on", dataset.origin());
  data::CheckpointLabels checkpoint;
  checkpoint.names = model.labels();
  checkpoint.has_head = true;
  checkpoint.problem_type = model.problem_type();
  const data::LabelMap labels = data::LabelMap::from_checkpoint(checkpoint, dataset.label_kind());
  labels.check(dataset);
  max_seq_length = inference_length(max_seq_length, saved_arguments(model.state().origin), model, tokenizer);
  const tasks::SequenceClassification task(labels.num_labels(), labels.problem_type());
  const auto features = encode_examples(dataset.origin(), dataset, labels, model, tokenizer, max_seq_length);
  StepMemory memory;
  const std::atomic<bool> never = false;
  LogEntry entry = evaluate_features(model.state(), task, *features, batch_size, memory, never);
  for (auto& [name, value] : entry) name = prefix + name.substr(5);
  return entry;
}

}  // namespace graft::train
