#include "models/distilbert.h"

#include <optional>

#include "models/heads.h"
#include "models/pooling.h"
#include "models/registry.h"
#include "models/transformer.h"

namespace graft::models {

using engine::Tape;
using engine::Var;

namespace {

constexpr double kEps = 1e-12;  // fixed in the reference, not in config.json

// config.json (DistilBertConfig of transformers 5.24).
struct DistilBertConfig {
  int64_t vocab_size = 0, dim = 0, n_layers = 0, n_heads = 0, hidden_dim = 0, max_position_embeddings = 0;
  engine::Activation activation = engine::Activation::gelu;
  double dropout = 0.1, attention_dropout = 0.1, seq_classif_dropout = 0.2, qa_dropout = 0.1;
  std::optional<int64_t> pad_token_id;  // none: null in the file
  bool tie_word_embeddings = true;
  int64_t num_labels = 0;

  // Throws Error naming file and key.
  static DistilBertConfig read(const ModelConfig& config) {
    DistilBertConfig c;
    c.vocab_size = config.integer("vocab_size");
    c.dim = config.integer("dim");
    c.n_layers = config.layers("n_layers");
    c.n_heads = config.integer("n_heads");
    c.hidden_dim = config.integer("hidden_dim");
    c.max_position_embeddings = config.integer("max_position_embeddings");
    c.activation = parse_activation(config.text_or("activation", "gelu"), config.origin());
    c.dropout = config.probability_or("dropout", 0.1);
    c.attention_dropout = config.probability_or("attention_dropout", 0.1);
    c.seq_classif_dropout = config.probability_or("seq_classif_dropout", 0.2);
    c.qa_dropout = config.probability_or("qa_dropout", 0.1);
    if (!config.is_null("pad_token_id")) c.pad_token_id = config.integer_or("pad_token_id", 0);
    c.tie_word_embeddings = config.flag_or("tie_word_embeddings", true);
    c.num_labels = static_cast<int64_t>(config.label_names().size());
    check_heads(config, c.dim, c.n_heads);
    return c;
  }
};

constexpr PostNormNames kDistilLayerNames = {{"attention.q_lin", "attention.k_lin", "attention.v_lin"},
                                             "attention.out_lin",
                                             "sa_layer_norm",
                                             "ffn.lin1",
                                             "ffn.lin2",
                                             "output_layer_norm"};

class DistilBertEncoder : public Encoder {
 public:
  DistilBertEncoder(engine::ParameterStore& store, const DistilBertConfig& config, bool tied)
      : dropout_(static_cast<float>(config.dropout)) {
    const Scope root(store, "distilbert"), e = root / "embeddings";
    embeddings_.word = e.embedding("word_embeddings", config.vocab_size, config.dim, !tied,
                                   config.pad_token_id.value_or(-1));
    embeddings_.position =
        e.embedding("position_embeddings", config.max_position_embeddings, config.dim, false);
    embeddings_.norm = e.norm("LayerNorm", config.dim, kEps);
    PostNormSizes sizes;
    sizes.hidden = config.dim;
    sizes.heads = config.n_heads;
    sizes.intermediate = config.hidden_dim;
    sizes.norm_eps = kEps;
    sizes.activation = config.activation;
    sizes.attention_dropout = config.attention_dropout;
    // The reference drops after the feed-forward part only, not after the attention's projection.
    sizes.attention_output_dropout = 0;
    sizes.output_dropout = config.dropout;
    for (int64_t i = 0; i < config.n_layers; ++i)
      layers_.push_back(make_post_norm_layer(store, root / "transformer.layer" / std::to_string(i),
                                             kDistilLayerNames, sizes));
  }

  Var encode(Tape& tape, const Inputs& inputs, const RowSelection& rows) const override {
    const Var x = engine::embed(tape, embeddings_, inputs.input_ids, inputs.rows.position, nullptr, dropout_,
                                "distilbert.embeddings", inputs.rows);
    return run_layers(tape, adapted_embeddings(tape, x, inputs), layers_, inputs, rows);
  }
  int64_t max_positions() const override { return embeddings_.position->rows(); }
  engine::Parameter* word_embeddings() const override { return embeddings_.word; }
  engine::Embeddings* embeddings() override { return &embeddings_; }
  std::vector<PostNormLayer>* post_norm_layers() override { return &layers_; }

 private:
  engine::Embeddings embeddings_;
  std::vector<PostNormLayer> layers_;
  float dropout_ = 0;
};

// pre_classifier, ReLU, dropout, classifier
Network make_distilbert_classifier(engine::ParameterStore& store, const DistilBertConfig& c,
                                   int64_t outputs) {
  Network n;
  n.encoder = std::make_unique<DistilBertEncoder>(store, c, false);
  ClassificationHead head;
  head.dense = Scope(store, "").linear("pre_classifier", c.dim, c.dim);
  head.activation = engine::Activation::relu;
  head.out = Scope(store, "").linear("classifier", outputs, c.dim);
  head.dropout_after = static_cast<float>(c.seq_classif_dropout);
  n.head = std::make_unique<ClassificationHead>(std::move(head));
  return n;
}

Network make_distilbert_sequence_classification(engine::ParameterStore& store, const ModelConfig& config) {
  const DistilBertConfig c = DistilBertConfig::read(config);
  return make_distilbert_classifier(store, c, c.num_labels);
}

Network make_distilbert_multiple_choice(engine::ParameterStore& store, const ModelConfig& config) {
  return make_distilbert_classifier(store, DistilBertConfig::read(config), 1);
}

Network make_distilbert_question_answering(engine::ParameterStore& store, const ModelConfig& config) {
  const DistilBertConfig c = DistilBertConfig::read(config);
  return with_span_head(std::make_unique<DistilBertEncoder>(store, c, false), store, c.dim, c.qa_dropout);
}

Network make_distilbert_token_classification(engine::ParameterStore& store, const ModelConfig& config) {
  const DistilBertConfig c = DistilBertConfig::read(config);
  return with_token_head(std::make_unique<DistilBertEncoder>(store, c, false), store, c.dim, c.num_labels,
                         c.dropout);
}

Network make_distilbert_masked_lm(engine::ParameterStore& store, const ModelConfig& config) {
  const DistilBertConfig c = DistilBertConfig::read(config);
  auto encoder = std::make_unique<DistilBertEncoder>(store, c, c.tie_word_embeddings);
  const Scope s(store, "");
  MaskedLmHead head;
  head.dense = s.linear("vocab_transform", c.dim, c.dim);
  head.activation = c.activation;
  head.norm = s.norm("vocab_layer_norm", c.dim, kEps);
  return with_masked_lm_head(std::move(encoder), std::move(head), s, c.vocab_size, c.tie_word_embeddings,
                             {"vocab_projector.bias", "vocab_projector"});
}

Network make_distilbert_sentence_embedding(engine::ParameterStore& store, const ModelConfig& config) {
  const DistilBertConfig c = DistilBertConfig::read(config);
  return with_pooling(std::make_unique<DistilBertEncoder>(store, c, false), store, config, c.dim);
}

}  // namespace

const Family& distilbert_family() {
  static const Family family = {
      "distilbert",
      "DistilBert",
      "distilbert",
      "distilbert.embeddings",
      "distilbert.transformer.layer",
      {"dim", "hidden_dim", "n_layers"},
      {{&kSequenceClassification, make_distilbert_sequence_classification},
       {&kTokenClassification, make_distilbert_token_classification},
       {&kMaskedLm, make_distilbert_masked_lm},
       {&kQuestionAnswering, make_distilbert_question_answering},
       {&kMultipleChoice, make_distilbert_multiple_choice},
       {&kSentenceEmbedding, make_distilbert_sentence_embedding}},
      {{"dim", "n_layers", "n_heads", "hidden_dim", "activation", "dropout", "attention_dropout",
        "seq_classif_dropout", "qa_dropout"},
       {{"sinusoidal_pos_embds", "false", "positions initialised with sines", true}},
       {{"hidden_size", "dim"}, {"num_attention_heads", "n_heads"}, {"num_hidden_layers", "n_layers"}}},
      {"vocab_projector.weight", nullptr, nullptr}};
  return family;
}

}  // namespace graft::models
