#include "tasks/token_classification.h"

#include "base/error.h"
#include "models/registry.h"
#include "tasks/language_model.h"

namespace graft::tasks {

engine::Var TokenClassification::loss(engine::Tape& tape, engine::Var logits, const data::RaggedBatch& batch,
                                      double denominator, double* total) const {
  return engine::cross_entropy(tape, logits, batch.labels.data(), denominator, total);
}

std::unique_ptr<Metrics> TokenClassification::metrics() const { return std::make_unique<TokenAccuracy>(); }

namespace {

std::unique_ptr<Task> make_token_classification(const Model& /*model*/, LabelKind /*labels*/) {
  return std::make_unique<TokenClassification>();
}

PreparedTask prepare_token_classification(Model& /*model*/, const TaskData& /*data*/,
                                          const FeatureSettings& /*settings*/) {
  throw UsageError("token-classification has no reader of tagged files yet");
}

// As many as a text of whole words has.
void add_token_labels(data::RaggedBatch& batch, const Model& /*model*/) {
  for (int32_t r = 0; r < batch.rows(); ++r) batch.label_rows.push_back(r);
  batch.labels.assign(batch.label_rows.size(), 0);
}

}  // namespace

const TaskEntry& token_classification_task() {
  static const TaskEntry entry = {
      &models::kTokenClassification, Input::labelled_rows,         Answer::labels,  0, {}, nullptr,
      make_token_classification,     prepare_token_classification, add_token_labels};
  return entry;
}

}  // namespace graft::tasks
