#include "models/heads.h"

#include <cmath>

#include "base/error.h"
#include "models/scope.h"

namespace graft::models {

using engine::Var;

namespace {

// Under bf16 too: a head on one row a sequence, or with few outputs, costs next to nothing, and its rounding
// goes straight into the logits.
engine::Linear exact(engine::Linear layer) {
  layer.fp32 = true;
  return layer;
}

}  // namespace

Var ClassificationHead::logits(engine::Tape& tape, Var hidden, const engine::Rows& rows) const {
  Var x = engine::dropout(tape, hidden, dropout_before, "classifier.dropout", rows);
  x = engine::linear(tape, x, exact(dense), activation);
  x = engine::dropout(tape, x, dropout_after, "classifier.out.dropout", rows);
  return engine::linear(tape, x, exact(out));
}

Var ClassificationHead::pooled(engine::Tape& tape, Var hidden) const {
  return is_pooler ? engine::linear(tape, hidden, exact(dense), activation) : nullptr;
}

Network with_pooler_head(std::unique_ptr<Encoder> encoder, engine::ParameterStore& store,
                         const engine::Linear& pooler, int64_t outputs, double dropout) {
  auto head = std::make_unique<ClassificationHead>();
  head->dense = pooler;
  head->activation = engine::Activation::tanh;
  head->is_pooler = true;
  head->out = Scope(store, "").linear("classifier", outputs, pooler.weight->shape[0]);
  head->dropout_after = static_cast<float>(dropout);
  return {std::move(encoder), std::move(head)};
}

Network with_dense_head(std::unique_ptr<Encoder> encoder, engine::ParameterStore& store, int64_t hidden_size,
                        int64_t outputs, engine::Activation activation, double dropout) {
  const Scope s(store, "classifier");
  auto head = std::make_unique<ClassificationHead>();
  head->dense = s.linear("dense", hidden_size, hidden_size);
  head->activation = activation;
  head->out = s.linear("out_proj", outputs, hidden_size);
  head->dropout_before = head->dropout_after = static_cast<float>(dropout);
  return {std::move(encoder), std::move(head)};
}

Network with_masked_lm_head(std::unique_ptr<Encoder> encoder, MaskedLmHead head, const Scope& scope,
                            int64_t vocab_size, bool tied, const DecoderNames& names) {
  if (tied) {
    head.decoder.weight = encoder->word_embeddings();
    head.decoder.bias = scope.bias(names.bias, vocab_size);
  } else {
    head.decoder = scope.linear(names.decoder, vocab_size, head.dense.weight->shape[0]);
  }
  return {std::move(encoder), std::make_unique<MaskedLmHead>(std::move(head))};
}

Var TokenClassificationHead::logits(engine::Tape& tape, Var hidden, const engine::Rows& rows) const {
  return engine::linear(tape, engine::dropout(tape, hidden, dropout, "classifier.dropout", rows),
                        exact(classifier));
}

Network with_token_head(std::unique_ptr<Encoder> encoder, engine::ParameterStore& store, int64_t hidden_size,
                        int64_t num_labels, double dropout) {
  auto head = std::make_unique<TokenClassificationHead>();
  head->classifier = Scope(store, "").linear("classifier", num_labels, hidden_size);
  head->dropout = static_cast<float>(dropout);
  return {std::move(encoder), std::move(head)};
}

Var MaskedLmHead::logits(engine::Tape& tape, Var hidden, const engine::Rows& rows) const {
  Var x = engine::linear(tape, hidden, dense, activation);
  x = engine::residual_norm(tape, x, nullptr, norm, 0, "lm_head", rows);
  if (inverted) x = invert(tape, *inverted, x);
  return engine::linear(tape, x, decoder);
}

Var ReplacedTokenHead::logits(engine::Tape& tape, Var hidden, const engine::Rows& /*rows*/) const {
  return engine::linear(tape, engine::linear(tape, hidden, dense, activation), exact(dense_prediction));
}

Var CausalLmHead::logits(engine::Tape& tape, Var hidden, const engine::Rows& /*rows*/) const {
  return engine::linear(tape, hidden, decoder);
}

Var SpanHead::logits(engine::Tape& tape, Var hidden, const engine::Rows& rows) const {
  return engine::linear(tape, engine::dropout(tape, hidden, dropout, "qa_outputs.dropout", rows),
                        exact(qa_outputs));
}

Network with_span_head(std::unique_ptr<Encoder> encoder, engine::ParameterStore& store, int64_t hidden_size,
                       double dropout) {
  SpanHead head;
  head.qa_outputs = Scope(store, "").linear("qa_outputs", 2, hidden_size);
  head.dropout = static_cast<float>(dropout);
  return {std::move(encoder), std::make_unique<SpanHead>(head)};
}

void check_heads(const ModelConfig& config, int64_t hidden_size, int64_t num_heads) {
  if (hidden_size % num_heads == 0) return;
  fail("{}: the hidden size {} is not a multiple of {} attention heads", config.origin(), hidden_size,
       num_heads);
}

engine::AttentionOptions attention_options(int64_t hidden_size, int64_t num_heads, double dropout) {
  engine::AttentionOptions o;
  o.num_heads = num_heads;
  o.head_dim = hidden_size / num_heads;
  o.scale = 1.0f / std::sqrt(static_cast<float>(o.head_dim));
  o.dropout = static_cast<float>(dropout);
  return o;
}

}  // namespace graft::models
