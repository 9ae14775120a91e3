#include "models/mpnet.h"

#include "base/error.h"
#include "models/heads.h"
#include "models/pooling.h"
#include "models/registry.h"
#include "models/transformer.h"

namespace graft::models {

using engine::Tape;
using engine::Var;

namespace {

// Fixed in the reference: the buckets in use and their largest distance, and the padding id from which
// positions count.
constexpr int64_t kBuckets = 32, kMaxDistance = 128;
constexpr int32_t kPadding = 1;

// config.json (MPNetConfig of transformers 5.24).
struct MPNetConfig : PostNormConfig {
  int64_t relative_attention_num_buckets = kBuckets;

  // Throws Error naming file and key.
  static MPNetConfig read(const ModelConfig& config) {
    MPNetConfig c;
    c.read_shared(config);
    c.relative_attention_num_buckets = config.size_or("relative_attention_num_buckets", kBuckets);
    if (c.relative_attention_num_buckets < kBuckets)
      fail("{}: \"relative_attention_num_buckets\" is {}; MPNet always uses {} buckets", config.origin(),
           c.relative_attention_num_buckets, kBuckets);
    if (c.max_position_embeddings <= kPadding + 1)
      fail("{}: \"max_position_embeddings\" leaves no position for a token", config.origin());
    return c;
  }
};

constexpr PostNormNames kMPNetLayerNames = {{"attention.attn.q", "attention.attn.k", "attention.attn.v"},
                                            "attention.attn.o",
                                            "attention.LayerNorm",
                                            "intermediate.dense",
                                            "output.dense",
                                            "output.LayerNorm"};

class MPNetEncoder : public Encoder {
 public:
  // `tied`: a matrix product reads the word embeddings (a masked-LM head does).
  MPNetEncoder(engine::ParameterStore& store, const MPNetConfig& config, bool tied)
      : dropout_(static_cast<float>(config.hidden_dropout_prob)) {
    const int64_t H = config.hidden_size;
    const Scope root(store, "mpnet"), e = root / "embeddings";
    embeddings_.word = e.embedding("word_embeddings", config.vocab_size, H, !tied, kPadding);
    embeddings_.position =
        e.embedding("position_embeddings", config.max_position_embeddings, H, false, kPadding);
    embeddings_.norm = e.norm("LayerNorm", H, config.layer_norm_eps);
    const PostNormSizes sizes = config.sizes();
    for (int64_t i = 0; i < config.num_hidden_layers; ++i)
      layers_.push_back(
          make_post_norm_layer(store, root / "encoder.layer" / std::to_string(i), kMPNetLayerNames, sizes));
    bias_ = root.embedding("encoder.relative_attention_bias", config.relative_attention_num_buckets,
                           config.num_attention_heads, false);
    bias_->no_decay = true;  // its name holds "bias"
  }

  Var encode(Tape& tape, const Inputs& inputs, const RowSelection& rows) const override {
    const Var x =
        engine::embed(tape, embeddings_, inputs.input_ids, positions_after_padding(tape, inputs, kPadding),
                      nullptr, dropout_, "mpnet.embeddings", inputs.rows);
    return run_layers(
        tape, x, layers_, inputs, rows,
        {engine::relative_bias(tape, bias_, true, kMaxDistance, inputs.max_position, kBuckets)});
  }
  int64_t max_positions() const override { return embeddings_.position->rows() - kPadding - 1; }
  engine::Parameter* word_embeddings() const override { return embeddings_.word; }
  engine::Embeddings* embeddings() override { return &embeddings_; }

 private:
  engine::Embeddings embeddings_;
  std::vector<PostNormLayer> layers_;
  engine::Parameter* bias_ = nullptr;
  float dropout_ = 0;
};

Network make_mpnet_sequence_classification(engine::ParameterStore& store, const ModelConfig& config) {
  const MPNetConfig c = MPNetConfig::read(config);
  return with_dense_head(std::make_unique<MPNetEncoder>(store, c, false), store, c.hidden_size, c.num_labels,
                         engine::Activation::tanh, c.hidden_dropout_prob);
}

Network make_mpnet_token_classification(engine::ParameterStore& store, const ModelConfig& config) {
  const MPNetConfig c = MPNetConfig::read(config);
  return with_token_head(std::make_unique<MPNetEncoder>(store, c, false), store, c.hidden_size, c.num_labels,
                         c.hidden_dropout_prob);
}

Network make_mpnet_question_answering(engine::ParameterStore& store, const ModelConfig& config) {
  const MPNetConfig c = MPNetConfig::read(config);
  return with_span_head(std::make_unique<MPNetEncoder>(store, c, false), store, c.hidden_size);
}

Network make_mpnet_multiple_choice(engine::ParameterStore& store, const ModelConfig& config) {
  const MPNetConfig c = MPNetConfig::read(config);
  auto encoder = std::make_unique<MPNetEncoder>(store, c, false);
  return with_pooler_head(std::move(encoder), store,
                          Scope(store, "mpnet").linear("pooler.dense", c.hidden_size, c.hidden_size), 1,
                          c.hidden_dropout_prob);
}

Network make_mpnet_masked_lm(engine::ParameterStore& store, const ModelConfig& config) {
  const MPNetConfig c = MPNetConfig::read(config);
  auto encoder = std::make_unique<MPNetEncoder>(store, c, c.tie_word_embeddings);
  const Scope s(store, "lm_head");
  MaskedLmHead head;
  head.dense = s.linear("dense", c.hidden_size, c.hidden_size);
  head.activation = engine::Activation::gelu;  // independent of hidden_act, as in the reference
  head.norm = s.norm("layer_norm", c.hidden_size, c.layer_norm_eps);
  return with_masked_lm_head(std::move(encoder), std::move(head), s, c.vocab_size, c.tie_word_embeddings);
}

Network make_mpnet_sentence_embedding(engine::ParameterStore& store, const ModelConfig& config) {
  const MPNetConfig c = MPNetConfig::read(config);
  auto encoder = std::make_unique<MPNetEncoder>(store, c, false);
  keep_pooler(Scope(store, "mpnet").linear("pooler.dense", c.hidden_size, c.hidden_size));
  return with_pooling(std::move(encoder), store, config, c.hidden_size);
}

}  // namespace

const Family& mpnet_family() {
  static const Family family = [] {
    Family f = {"mpnet",
                "MPNet",
                "mpnet",
                "mpnet.embeddings",
                "mpnet.encoder.layer",
                {"hidden_size", "intermediate_size", "num_hidden_layers"},
                {{&kSequenceClassification, make_mpnet_sequence_classification},
                 {&kTokenClassification, make_mpnet_token_classification},
                 {&kMaskedLm, make_mpnet_masked_lm},
                 {&kQuestionAnswering, make_mpnet_question_answering},
                 {&kMultipleChoice, make_mpnet_multiple_choice},
                 {&kSentenceEmbedding, make_mpnet_sentence_embedding}},
                {{"hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
                  "hidden_act", "hidden_dropout_prob", "attention_probs_dropout_prob", "layer_norm_eps",
                  "relative_attention_num_buckets"},
                 {},
                 {},
                 {"type_vocab_size"}},
                {"lm_head.decoder.weight", "lm_head.decoder.bias", "lm_head.bias"}};
    f.below_layers = {"mpnet.encoder.relative_attention_bias"};
    return f;
  }();
  return family;
}

}  // namespace graft::models
