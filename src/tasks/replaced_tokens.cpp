#include "tasks/replaced_tokens.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "engine/basic_ops.h"
#include "models/registry.h"
#include "models/state.h"
#include "tasks/drawn_tokens.h"
#include "tasks/language_model.h"
#include "tasks/masked_lm.h"

namespace graft::tasks {

using engine::Tape;
using engine::Var;

namespace {

class ReplacedMetrics : public Metrics {
 public:
  void add(const data::RaggedBatch& batch, engine::Tensor logits) override {
    for (int64_t r = 0; r < logits.rows; ++r)
      counts_.add(batch.labels[static_cast<size_t>(r)], logits.row(r)[0] > 0 ? 1 : 0);
  }
  Partial partial() const override { return counts_.partial(); }
  void merge(const Partial& part) override { counts_.merge(part); }
  MetricValues values() const override {
    MetricValues out;
    for (const auto& [name, value] : counts_.values())
      if (name == "accuracy" || name == "f1") out.emplace_back(name, value);
    return out;
  }

 private:
  ClassCounts counts_{2};
};

// labels as the targets of a binary cross entropy, [T,1].
Var binary_loss(Tape& tape, Var logits, const int32_t* labels, double denominator, double* total) {
  const int64_t n = logits->data.rows;
  auto* targets = tape.push_array<float>(n);
  std::copy_n(labels, n, targets);
  return engine::binary_cross_entropy(tape, logits, engine::make_tensor(targets, n, 1), denominator, total);
}

}  // namespace

Var ReplacedTokenDetection::loss(Tape& tape, Var logits, const data::RaggedBatch& batch, double denominator,
                                 double* total) const {
  if (std::ssize(batch.labels) != logits->data.rows)
    fail("replaced-token detection: {} labels for {} tokens; each token has one", batch.labels.size(),
         logits->data.rows);
  return binary_loss(tape, logits, batch.labels.data(), denominator, total);
}

LossPass ReplacedTokenDetection::training_pass(Tape& tape, const models::Network& network,
                                               const data::RaggedBatch& batch, double denominator) const {
  if (!generator_) return {};
  const Var filled = generator_->network.forward(tape, batch).logits;
  auto* ids = tape.push_copy(batch.input_ids.data(), batch.rows());
  auto* replaced = tape.push_array<int32_t>(batch.rows());
  std::fill_n(replaced, batch.rows(), 0);
  if (!tape.planning()) {
    draw_tokens(tape.on_host(filled->data), batch, seed_, tape.options().step, ids);
    for (size_t i = 0; i < batch.labels.size(); ++i)
      replaced[batch.label_rows[i]] = ids[batch.label_rows[i]] != batch.labels[i];
  }
  // The draws have no gradient: the generator learns from its own loss alone.
  const double masked = batch.step_labels > 0 ? batch.step_labels
                                              : std::max<double>(1, static_cast<double>(batch.labels.size()));
  const Var mlm = engine::cross_entropy(tape, filled, batch.labels.data(), masked);
  LossPass out;
  out.logits = network.forward(tape, batch, {.input_ids = ids}).logits;
  const Var detection = binary_loss(tape, out.logits, replaced, denominator, nullptr);
  out.loss = engine::add(tape, mlm, engine::scale(tape, detection, kDiscriminatorWeight));
  return out;
}

std::unique_ptr<Metrics> ReplacedTokenDetection::metrics() const {
  return std::make_unique<ReplacedMetrics>();
}

void ReplacedFeatures::add(const data::RaggedBatch& original, const std::vector<int32_t>& ids) {
  const auto first = static_cast<std::ptrdiff_t>(replaced_.size());
  replaced_.resize(replaced_.size() + ids.size(), 0);
  for (size_t i = 0; i < original.labels.size(); ++i) {
    const int32_t row = original.label_rows[i];
    replaced_[static_cast<size_t>(first + row)] = ids[static_cast<size_t>(row)] != original.labels[i];
  }
  tokens_.ids.own().insert(tokens_.ids.own().end(), ids.begin(), ids.end());
  for (int32_t b = 0; b < original.size(); ++b)
    tokens_.offsets.push_back(first + original.cu_seqlens[static_cast<size_t>(b) + 1]);
}

void ReplacedFeatures::append_sequences(data::RaggedBatch& batch, int64_t i, int64_t index,
                                        int64_t /*epoch*/) const {
  const int32_t first = batch.rows(), length = tokens_.length(i);
  batch.append_sequence(tokens_.row(i), nullptr, length, index);
  const auto begin = replaced_.begin() + tokens_.offsets[static_cast<size_t>(i)];
  batch.labels.insert(batch.labels.end(), begin, begin + length);
  for (int32_t r = 0; r < length; ++r) batch.label_rows.push_back(first + r);
}

namespace {

// Held-out text is filled once, by the generator as it is now: evaluations before and after a training then
// read the same tokens.
std::unique_ptr<Features> fill_once(models::State& state, const Features& masked, uint64_t seed) {
  constexpr int64_t kAtOnce = 16;  // sequences
  auto out = std::make_unique<ReplacedFeatures>();
  engine::Arena arena(engine::ArenaSize{}, state.parameters.device());
  data::RaggedBatch batch;
  for (int64_t i = 0; i < masked.size(); i += kAtOnce) {
    batch.clear();
    for (int64_t j = i; j < std::min(masked.size(), i + kAtOnce); ++j) masked.append(batch, j, j, -1);
    arena.reset();
    Tape tape(arena, state.parameters, {.bf16 = state.bf16});
    std::vector<int32_t> ids = batch.input_ids;
    const Var logits = state.generator->network.forward(tape, batch).logits;
    draw_tokens(tape.on_host(logits->data), batch, seed, kNoStep, ids.data());
    out->add(batch, ids);
  }
  return out;
}

std::unique_ptr<Task> make_replaced_tokens(const Model& /*model*/, LabelKind /*labels*/) {
  return std::make_unique<ReplacedTokenDetection>();
}

void check_settings(const models::State& state, const FeatureSettings& settings) {
  if (!state.generator)
    fail_with(
        "graft adapt with the objective rtd and a generator pretrains a discriminator; for another --task it "
        "is "
        "fine-tuned",
        "{}: replaced-token detection needs a generator, which fills the masked tokens",
        state.origin.string());
  if (settings.gradient_cache)
    throw UsageError("--gradient_cache is refused: it is for losses that couple the examples of a batch");
  const int64_t positions = state.generator->network.encoder->max_positions();
  if (settings.max_seq_length > positions)
    throw UsageError(fmt::format("--max_seq_length {}: the generator reads {} tokens at most",
                                 settings.max_seq_length, positions),
                     fmt::format("give --max_seq_length {}", positions));
}

PreparedTask prepare_replaced_tokens(Model& model, const TaskData& data, const FeatureSettings& settings) {
  models::State& state = model.state();
  check_settings(state, settings);
  data::TextBlockOptions options;
  options.word_starts = settings.whole_word_mask || settings.span_mask;
  data::TextBlocks blocks = read_corpus(model, data, settings, options, "sequences");
  const data::MlmMasker masker = mlm_masker(model, *data.tokenizer, settings, true);
  PreparedTask out;
  out.task = std::make_unique<ReplacedTokenDetection>(state.generator.get(), settings.seed);
  if (blocks.train.size() > 0) out.train = std::make_unique<MaskedFeatures>(std::move(blocks.train), masker);
  if (blocks.validation.size() > 0)
    out.eval = fill_once(state, MaskedFeatures(std::move(blocks.validation), masker), settings.seed);
  return out;
}

void add_sample_replacements(data::RaggedBatch& batch, const Model& /*model*/) {
  for (int32_t r = 0; r < batch.rows(); ++r) batch.label_rows.push_back(r);
  batch.labels.assign(batch.label_rows.size(), 0);
}

}  // namespace

const TaskEntry& replaced_tokens_task() {
  static const TaskEntry entry = {
      &models::kReplacedTokenDetection,
      Input::text,
      Answer::none,
      0,
      {"line_by_line", "whole_word_mask", "span_mask", "geometric_p", "span_upper", "mlm_probability"},
      nullptr,
      make_replaced_tokens,
      prepare_replaced_tokens,
      add_sample_replacements};
  return entry;
}

}  // namespace graft::tasks
