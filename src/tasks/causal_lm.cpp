#include "tasks/causal_lm.h"

#include <algorithm>

#include "models/registry.h"

namespace graft::tasks {

void append_predicted(data::RaggedBatch& batch, const int32_t* ids, int32_t length, int64_t key) {
  const int32_t first = batch.rows();
  batch.append_sequence(ids, nullptr, length, key);
  for (int32_t i = 0; i + 1 < length; ++i) {
    batch.label_rows.push_back(first + i);
    batch.labels.push_back(ids[i + 1]);
  }
}

void CausalFeatures::append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index,
                                      int64_t /*epoch*/) const {
  const int64_t begin = tokens_.offsets[static_cast<size_t>(i)],
                end = tokens_.offsets[static_cast<size_t>(i) + 1];
  const int32_t* ids = tokens_.row(i);
  const auto& documents = tokens_.documents;
  documents.read(0, 0);
  const int64_t* next = std::upper_bound(documents.begin(), documents.end(), begin);
  int64_t text = 0;
  const int32_t sequences = batch.size();
  for (int64_t at = begin; at < end; ++text) {
    const int64_t stop = next == documents.end() ? end : std::min(end, *next++);
    // A text of one token predicts nothing, and nothing reads it.
    if (stop - at > 1)
      append_predicted(batch, ids + (at - begin), static_cast<int32_t>(stop - at),
                       data::sequence_key(index, text));
    at = stop;
  }
  if (batch.size() == sequences)  // a batch has rows, also where they predict nothing
    append_predicted(batch, ids, 1, data::sequence_key(index, 0));
}

namespace {

std::unique_ptr<Task> make_causal_lm(const Model& /*model*/, LabelKind /*labels*/) {
  return std::make_unique<CausalLm>();
}

PreparedTask prepare_causal_lm(Model& model, const TaskData& data, const FeatureSettings& settings) {
  data::TextBlockOptions options;
  options.documents = !settings.line_by_line && !settings.join_texts;
  data::TextBlocks blocks =
      read_corpus(model, data, settings, options, settings.line_by_line ? "sequences" : "blocks");
  PreparedTask out;
  out.task = std::make_unique<CausalLm>();
  if (blocks.train.size() > 0) out.train = std::make_unique<CausalFeatures>(std::move(blocks.train));
  if (blocks.validation.size() > 0) out.eval = std::make_unique<CausalFeatures>(std::move(blocks.validation));
  return out;
}

void add_next_tokens(data::RaggedBatch& batch, const Model& /*model*/) {
  for (int32_t r = 0; r < batch.rows(); ++r) {
    if (r + 1 == batch.rows() || batch.position_in_example[static_cast<size_t>(r) + 1] == 0) continue;
    batch.label_rows.push_back(r);
    batch.labels.push_back(0);
  }
}

}  // namespace

const TaskEntry& causal_lm_task() {
  static const TaskEntry entry = {&models::kCausalLm,
                                  Input::text,
                                  Answer::text_scores,
                                  0,
                                  {"line_by_line", "join_texts", "label_smoothing_factor", "r_drop_alpha"},
                                  nullptr,
                                  make_causal_lm,
                                  prepare_causal_lm,
                                  add_next_tokens};
  return entry;
}

}  // namespace graft::tasks
