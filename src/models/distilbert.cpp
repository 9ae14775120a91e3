#include "models/distilbert.h"

#include "models/heads.h"

namespace graft::models {

using engine::Tape;
using engine::Var;

namespace {

constexpr double kEps = 1e-12;  // fixed in the reference, not in config.json

class DistilBertEncoder : public Encoder {
 public:
  DistilBertEncoder(engine::ParameterStore& store, const ModelConfig& config, bool tied) {
    const int64_t H = config.integer("dim"), heads = config.integer("n_heads"),
                  wide = config.integer("hidden_dim");
    check_heads(config, H, heads);
    dropout_ = static_cast<float>(config.number_or("dropout", 0.1));
    const Scope root(store, "distilbert"), e = root / "embeddings";
    embeddings_.word =
        e.embedding("word_embeddings", config.integer("vocab_size"), H, !tied,
                    config.is_null("pad_token_id") ? -1 : config.integer_or("pad_token_id", 0));
    embeddings_.position =
        e.embedding("position_embeddings", config.integer("max_position_embeddings"), H, false);
    embeddings_.norm = e.norm("LayerNorm", H, kEps);
    for (int64_t i = 0; i < config.integer("n_layers"); ++i) {
      const Scope s = root / "transformer.layer" / std::to_string(i);
      PostNormLayer layer;
      layer.scope = s.name();
      layer.qkv = s.linear_group({"attention.q_lin", "attention.k_lin", "attention.v_lin"}, H, H);
      layer.query = part_of(store, layer.qkv, 0, 1);
      layer.key_value = part_of(store, layer.qkv, 1, 2);
      layer.attention_output = s.linear("attention.out_lin", H, H);
      layer.attention_norm = s.norm("sa_layer_norm", H, kEps);
      layer.intermediate = s.linear("ffn.lin1", wide, H);
      layer.output = s.linear("ffn.lin2", H, wide);
      layer.output_norm = s.norm("output_layer_norm", H, kEps);
      layer.activation = parse_activation(config.text_or("activation", "gelu"), config.origin());
      layer.attention = attention_options(H, heads, config.number_or("attention_dropout", 0.1));
      // The reference drops after the feed-forward part only, not after the attention's projection.
      layer.attention_output_dropout = 0;
      layer.hidden_dropout = dropout_;
      layers_.push_back(std::move(layer));
    }
  }

  Var encode(Tape& tape, const Inputs& inputs, const int32_t* rows, int64_t n) const override {
    const Var x = engine::embed(tape, embeddings_, inputs.input_ids, inputs.rows.position, nullptr, dropout_,
                                "distilbert.embeddings", inputs.rows);
    return run_layers(tape, x, layers_, inputs, rows, n);
  }
  int64_t max_positions() const override { return embeddings_.position->rows(); }
  engine::Parameter* word_embeddings() const override { return embeddings_.word; }

 private:
  engine::Embeddings embeddings_;
  std::vector<PostNormLayer> layers_;
  float dropout_ = 0;
};

}  // namespace

Network make_distilbert_sequence_classification(engine::ParameterStore& store, const ModelConfig& config) {
  const int64_t H = config.integer("dim");
  Network n;
  n.encoder = std::make_unique<DistilBertEncoder>(store, config, false);
  ClassificationHead head;  // pre_classifier, ReLU, dropout, classifier
  head.dense = Scope(store, "").linear("pre_classifier", H, H);
  head.activation = engine::Activation::relu;
  head.out = Scope(store, "").linear("classifier", static_cast<int64_t>(config.label_names().size()), H);
  head.dropout_after = static_cast<float>(config.number_or("seq_classif_dropout", 0.2));
  n.head = std::make_unique<ClassificationHead>(std::move(head));
  return n;
}

Network make_distilbert_masked_lm(engine::ParameterStore& store, const ModelConfig& config) {
  const int64_t H = config.integer("dim");
  Network n;
  const bool tied = config.flag_or("tie_word_embeddings", true);
  n.encoder = std::make_unique<DistilBertEncoder>(store, config, tied);
  const Scope s(store, "");
  MaskedLmHead head;
  head.dense = s.linear("vocab_transform", H, H);
  head.activation = parse_activation(config.text_or("activation", "gelu"), config.origin());
  head.norm = s.norm("vocab_layer_norm", H, kEps);
  if (tied) {
    head.decoder.weight = n.encoder->word_embeddings();
    head.decoder.bias = s.bias("vocab_projector.bias", config.integer("vocab_size"));
  } else {
    head.decoder = s.linear("vocab_projector", config.integer("vocab_size"), H);
  }
  n.head = std::make_unique<MaskedLmHead>(std::move(head));
  return n;
}

}  // namespace graft::models
