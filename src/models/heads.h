// Heads that several architectures share, each composed of operations; the architecture's file names the
// parameters.
#pragma once
#include "models/config.h"
#include "models/network.h"
#include "models/scope.h"

namespace graft::models {

// dropout -> dense -> activation -> dropout -> out, on the first row of each sequence.
struct ClassificationHead : Head {
  engine::Linear dense, out;
  engine::Activation activation = engine::Activation::tanh;
  float dropout_before = 0, dropout_after = 0;
  bool is_pooler = false;  // dense and activation are the encoder's pooler (BERT)

  RowSelection rows(engine::Tape& /*tape*/, const data::RaggedBatch& batch) const override {
    return first_rows(batch);
  }
  engine::Var logits(engine::Tape& tape, engine::Var hidden, const engine::Rows& rows) const override;
  engine::Var pooled(engine::Tape& tape, engine::Var hidden) const override;
};

// The tanh pooler of an encoder, dropout, `classifier` with this many outputs.
Network with_pooler_head(std::unique_ptr<Encoder> encoder, engine::ParameterStore& store,
                         const engine::Linear& pooler, int64_t outputs, double dropout);
// dropout, classifier.dense, activation, dropout, classifier.out_proj.
Network with_dense_head(std::unique_ptr<Encoder> encoder, engine::ParameterStore& store, int64_t hidden_size,
                        int64_t outputs, engine::Activation activation, double dropout);

// dropout -> classifier, on the rows that have a label.
struct TokenClassificationHead : Head {
  engine::Linear classifier;
  float dropout = 0;

  RowSelection rows(engine::Tape& /*tape*/, const data::RaggedBatch& batch) const override {
    return label_rows(batch);
  }
  engine::Var logits(engine::Tape& tape, engine::Var hidden, const engine::Rows& rows) const override;
};

// On an encoder with hidden states of this size.
Network with_token_head(std::unique_ptr<Encoder> encoder, engine::ParameterStore& store, int64_t hidden_size,
                        int64_t num_labels, double dropout);

// dense -> activation -> LayerNorm -> (inverse of an invertible adapter) -> decoder, on the rows that have a
// label.
struct MaskedLmHead : Head {
  engine::Linear dense, decoder;
  engine::Activation activation = engine::Activation::gelu;
  engine::Norm norm;
  const InvertibleAdapter* inverted = nullptr;

  RowSelection rows(engine::Tape& /*tape*/, const data::RaggedBatch& batch) const override {
    return label_rows(batch);
  }
  engine::Var logits(engine::Tape& tape, engine::Var hidden, const engine::Rows& rows) const override;
  const InvertibleAdapter** inverse() override { return &inverted; }
};

// `head` has its dense layer and its norm. Its decoder is the word embeddings and the parameter bias, or,
// untied, the layer `decoder`, both named below `scope`.
struct DecoderNames {
  const char *bias = "bias", *decoder = "decoder";
};
Network with_masked_lm_head(std::unique_ptr<Encoder> encoder, MaskedLmHead head, const Scope& scope,
                            int64_t vocab_size, bool tied, const DecoderNames& names = {});

// dense -> activation -> dense_prediction, one logit for each row: was its token replaced?
struct ReplacedTokenHead : Head {
  engine::Linear dense, dense_prediction;
  engine::Activation activation = engine::Activation::gelu;

  RowSelection rows(engine::Tape& /*tape*/, const data::RaggedBatch& batch) const override {
    return all_rows(batch);
  }
  engine::Var logits(engine::Tape& tape, engine::Var hidden, const engine::Rows& rows) const override;
};

// The next token of each row that has a label.
struct CausalLmHead : Head {
  engine::Linear decoder;

  RowSelection rows(engine::Tape& /*tape*/, const data::RaggedBatch& batch) const override {
    return label_rows(batch);
  }
  engine::Var logits(engine::Tape& tape, engine::Var hidden, const engine::Rows& rows) const override;
  const engine::Linear* only_layer() const override { return &decoder; }
};

// dropout -> qa_outputs, the scores of a span's start and end, on every row.
struct SpanHead : Head {
  engine::Linear qa_outputs;
  float dropout = 0;

  RowSelection rows(engine::Tape& /*tape*/, const data::RaggedBatch& batch) const override {
    return all_rows(batch);
  }
  engine::Var logits(engine::Tape& tape, engine::Var hidden, const engine::Rows& rows) const override;
};
// On an encoder with hidden states of this size.
Network with_span_head(std::unique_ptr<Encoder> encoder, engine::ParameterStore& store, int64_t hidden_size,
                       double dropout = 0);

// Error when hidden_size is not a multiple of the number of heads.
void check_heads(const ModelConfig& config, int64_t hidden_size, int64_t num_heads);
// Bidirectional attention scaled by 1/sqrt(dim).
engine::AttentionOptions attention_options(int64_t hidden_size, int64_t num_heads, double dropout);

}  // namespace graft::models
