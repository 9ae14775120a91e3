#include "tasks/masked_lm.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "models/registry.h"
#include "tasks/language_model.h"
#include "tasks/vocabulary.h"

namespace graft::tasks {

namespace {

class MaskedLmMetrics : public TokenAccuracy {
 public:
  void add(const data::RaggedBatch& batch, engine::Tensor logits) override {
    int64_t right = 0;
    for (int64_t r = 0; r < logits.rows; ++r) {
      const float* x = logits.row(r);
      right += std::max_element(x, x + logits.cols) - x == batch.labels[static_cast<size_t>(r)];
    }
    add_counts(right, logits.rows);
  }
};

}  // namespace

engine::Var MaskedLm::loss(engine::Tape& tape, engine::Var logits, const data::RaggedBatch& batch,
                           double denominator, double* total) const {
  return engine::cross_entropy(tape, logits, batch.labels.data(), denominator, total, label_loss(tape));
}

std::unique_ptr<Metrics> MaskedLm::metrics() const { return std::make_unique<MaskedLmMetrics>(); }

MetricValues MaskedLm::metrics_of_loss(double loss) const { return {{"perplexity", std::exp(loss)}}; }

void MaskedFeatures::append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index,
                                      int64_t epoch) const {
  const int32_t first = batch.rows(), length = tokens_.length(i);
  const int32_t* types =
      token_type_ids_.empty() ? nullptr : token_type_ids_.data() + tokens_.offsets[static_cast<size_t>(i)];
  batch.append_sequence(tokens_.row(i), types, length, index);
  data::MaskedRows masked;
  masker_.mask(epoch, i, batch.input_ids.data() + first, tokens_.row_word_starts(i), length, first, masked);
  batch.label_rows.insert(batch.label_rows.end(), masked.rows.begin(), masked.rows.end());
  batch.labels.insert(batch.labels.end(), masked.labels.begin(), masked.labels.end());
}

data::MlmMasker mlm_masker(const Model& model, const Tokenizer& tokenizer, const FeatureSettings& settings,
                           bool only_mask_token) {
  data::MlmOptions mlm;
  mlm.only_mask_token = only_mask_token;
  mlm.mlm_probability = settings.mlm_probability;
  mlm.whole_word = settings.whole_word_mask;
  mlm.seed = settings.seed;
  mlm.spans = {settings.span_mask, settings.geometric_p, settings.span_upper};
  const int64_t rows = embedding_rows(model);
  if (tokenizer.vocab_size() <= rows) return data::MlmMasker(tokenizer, mlm);
  std::vector<uint8_t> special(static_cast<size_t>(rows));
  for (size_t id = 0; id < special.size(); ++id) special[id] = tokenizer.is_special(static_cast<int32_t>(id));
  const std::optional<int32_t> mask = tokenizer.special_id("mask_token");
  if (mask) check_ids(&*mask, 1, model, tokenizer, "the tokenizer");
  return data::MlmMasker(mask, std::move(special), mlm);
}

namespace {

std::unique_ptr<Task> make_masked_lm(const Model& /*model*/, LabelKind /*labels*/) {
  return std::make_unique<MaskedLm>();
}

PreparedTask prepare_masked_lm(Model& model, const TaskData& data, const FeatureSettings& settings) {
  data::TextBlockOptions options;
  options.word_starts = settings.whole_word_mask || settings.span_mask;
  data::TextBlocks blocks = read_corpus(model, data, settings, options, "sequences");
  const data::MlmMasker masker = mlm_masker(model, *data.tokenizer, settings);
  PreparedTask out;
  out.task = std::make_unique<MaskedLm>();
  if (blocks.train.size() > 0) out.train = std::make_unique<MaskedFeatures>(std::move(blocks.train), masker);
  if (blocks.validation.size() > 0)
    out.eval = std::make_unique<MaskedFeatures>(std::move(blocks.validation), masker);
  return out;
}

// Every seventh token: as many as mlm_probability 0.15 masks.
void add_sample_masks(data::RaggedBatch& batch, const Model& /*model*/) {
  for (int32_t r = 0; r < batch.rows(); ++r) {
    if (batch.position_in_example[static_cast<size_t>(r)] % 7 != 0) continue;
    batch.label_rows.push_back(r);
    batch.labels.push_back(0);
  }
}

}  // namespace

const TaskEntry& masked_lm_task() {
  static const TaskEntry entry = {&models::kMaskedLm,
                                  Input::text,
                                  Answer::mask_fills,
                                  0,
                                  {"line_by_line", "whole_word_mask", "span_mask", "geometric_p",
                                   "span_upper", "mlm_probability", "label_smoothing_factor", "r_drop_alpha"},
                                  nullptr,
                                  make_masked_lm,
                                  prepare_masked_lm,
                                  add_sample_masks};
  return entry;
}

}  // namespace graft::tasks
