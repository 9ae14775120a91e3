#include "tasks/seq2seq_lm.h"

#include "base/error.h"
#include "models/decoder.h"
#include "models/registry.h"
#include "models/state.h"
#include "tasks/examples.h"
#include "tasks/source_target.h"
#include "tasks/span_corruption.h"

namespace graft::tasks {

std::unique_ptr<Metrics> Seq2SeqLm::metrics() const {
  return std::make_unique<TargetMetrics>(generation_.tokenizer != nullptr);
}

void Seq2SeqLm::add_generated(models::State& state, const Features& features, int64_t begin, int64_t end,
                              Metrics& metrics) const {
  if (!generation_.tokenizer) return;
  const auto& rows = static_cast<const SourceTargetFeatures&>(features);
  std::vector<std::vector<int32_t>> sources;
  for (int64_t i = begin; i < end; ++i) sources.push_back(rows.source(i));
  const auto targets = generate_targets(state, generation_, std::move(sources), begin);
  for (size_t i = 0; i < targets.size(); ++i)
    static_cast<TargetMetrics&>(metrics).add_text(generation_.tokenizer->decode(targets[i]),
                                                  rows.target_text(begin + static_cast<int64_t>(i)),
                                                  targets[i].size());
}

namespace {

int32_t start_token(const Model& model) {
  return *model.state().network.encoder->decoder()->decoder_start_token_id();
}

std::unique_ptr<Task> make_seq2seq_lm(const Model& /*model*/, LabelKind /*labels*/) {
  return std::make_unique<Seq2SeqLm>();
}

PreparedTask prepare_seq2seq_lm(Model& model, const TaskData& data, const FeatureSettings& settings) {
  if (settings.span_corruption) return prepare_span_corruption(model, data, settings, start_token(model));
  SourceTargetSettings streams;
  streams.max_source_length = static_cast<int32_t>(settings.max_seq_length);
  streams.max_target_length = static_cast<int32_t>(settings.max_target_length);
  streams.source_prefix = settings.source_prefix;
  streams.decoder_start_token_id = start_token(model);
  warn_of_other_inputs(data.train, data.eval);
  warn_of_other_inputs(data.train, data.test);
  const auto encode = [&](const char* part, const Dataset& set) -> std::unique_ptr<Features> {
    if (set.size() == 0) return nullptr;
    if (!set.has_targets())
      fail_with("read the file with DatasetOptions::text_to_text, or set Example::target",
                "{}: the rows have no targets", set.origin().empty() ? "the data" : set.origin());
    return encode_sources_and_targets(part, set, model, *data.tokenizer, streams);
  };
  PreparedTask out;
  TargetGeneration generation;
  if (settings.predict_with_generate)
    generation = target_generation(model.state(), data.tokenizer, settings.generation_max_length,
                                   settings.generation_num_beams, settings.max_target_length);
  out.task = std::make_unique<Seq2SeqLm>(std::move(generation));
  out.train = encode("train", data.train);
  out.eval = encode("eval", data.eval);
  out.test = encode("test", data.test);
  return out;
}

// A target a third as long as its source.
void add_sample_targets(data::RaggedBatch& batch, const Model& model) {
  for (int32_t b = 0; b < batch.size(); ++b) {
    const auto at = static_cast<size_t>(b);
    const std::vector<int32_t> ids(static_cast<size_t>(batch.cu_seqlens[at + 1] - batch.cu_seqlens[at] + 2) /
                                   3);
    append_target(batch, ids.data(), static_cast<int32_t>(ids.size()), start_token(model));
  }
}

}  // namespace

const TaskEntry& seq2seq_lm_task() {
  constexpr int64_t kLength = 1024;  // run_summarization's max_source_length
  static const TaskEntry entry = {
      &models::kSeq2SeqLm,
      Input::source_and_target,
      Answer::texts,
      kLength,
      {"max_target_length", "source_prefix", "label_smoothing_factor", "r_drop_alpha",
       "predict_with_generate", "generation_max_length", "generation_num_beams", "span_corruption",
       "mean_noise_span_length", "mlm_probability", "line_by_line"},
      nullptr,
      make_seq2seq_lm,
      prepare_seq2seq_lm,
      add_sample_targets};
  return entry;
}

}  // namespace graft::tasks
