#include "models/albert.h"

#include <optional>

#include "base/error.h"
#include "models/heads.h"
#include "models/pooling.h"
#include "models/registry.h"
#include "models/transformer.h"

namespace graft::models {

using engine::Tape;
using engine::Var;

namespace {

// config.json (AlbertConfig of transformers 5.24).
struct AlbertConfig : PostNormConfig {
  int64_t embedding_size = 128, num_hidden_groups = 1, inner_group_num = 1, type_vocab_size = 2;
  double classifier_dropout_prob = 0.1;
  std::optional<int64_t> pad_token_id;  // none: null in the file

  // Throws Error naming file and key.
  static AlbertConfig read(const ModelConfig& config) {
    AlbertConfig c;
    c.hidden_dropout_prob = c.attention_probs_dropout_prob = 0;
    c.read_shared(config, "gelu_new");
    c.embedding_size = config.size_or("embedding_size", 128);
    c.num_hidden_groups = config.size_or("num_hidden_groups", 1);
    c.inner_group_num = config.size_or("inner_group_num", 1);
    c.type_vocab_size = config.size_or("type_vocab_size", 2);
    c.classifier_dropout_prob = config.probability_or("classifier_dropout_prob", 0.1);
    if (!config.is_null("pad_token_id")) c.pad_token_id = config.integer_or("pad_token_id", 0);
    for (const auto& [key, n] :
         {std::pair{"num_hidden_groups", c.num_hidden_groups}, {"inner_group_num", c.inner_group_num}})
      if (n > 100) fail("{}: \"{}\" is {}; at most 100 are possible", config.origin(), key, n);
    return c;
  }
};

constexpr PostNormNames kAlbertLayerNames = {{"attention.query", "attention.key", "attention.value"},
                                             "attention.dense",
                                             "attention.LayerNorm",
                                             "ffn",
                                             "ffn_output",
                                             "full_layer_layer_norm"};

class AlbertEncoder : public Encoder {
 public:
  // `tied`: a matrix product reads the word embeddings (a masked-LM head does).
  AlbertEncoder(engine::ParameterStore& store, const AlbertConfig& config, bool tied) : config_(config) {
    const int64_t E = config.embedding_size, H = config.hidden_size;
    const Scope root(store, "albert"), e = root / "embeddings";
    embeddings_.word =
        e.embedding("word_embeddings", config.vocab_size, E, !tied, config.pad_token_id.value_or(-1));
    embeddings_.position = e.embedding("position_embeddings", config.max_position_embeddings, E, false);
    embeddings_.token_type = e.embedding("token_type_embeddings", config.type_vocab_size, E, false);
    embeddings_.norm = e.norm("LayerNorm", E, config.layer_norm_eps);
    map_in_ = root.linear("encoder.embedding_hidden_mapping_in", H, E);
    PostNormSizes sizes = config.sizes();
    sizes.output_dropout = 0;        // the reference drops after the attention's projection only
    std::vector<PostNormLayer> own;  // of all groups, each with its parameters
    for (int64_t g = 0; g < config.num_hidden_groups; ++g)
      for (int64_t i = 0; i < config.inner_group_num; ++i)
        own.push_back(make_post_norm_layer(
            store,
            root / "encoder.albert_layer_groups" / std::to_string(g) / "albert_layers" / std::to_string(i),
            kAlbertLayerNames, sizes));
    for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
      // In floating point, as the reference.
      const double layers_of_group =
          static_cast<double>(config.num_hidden_layers) / static_cast<double>(config.num_hidden_groups);
      const auto group = static_cast<int64_t>(static_cast<double>(i) / layers_of_group);
      for (int64_t j = 0; j < config.inner_group_num; ++j) {
        layers_.push_back(own[static_cast<size_t>(group * config.inner_group_num + j)]);
        layers_.back().scope += "#" + std::to_string(i);  // one parameter, but dropout of its own
      }
    }
  }

  Var encode(Tape& tape, const Inputs& inputs, const RowSelection& rows) const override {
    const int32_t* types = config_.type_vocab_size > 1 ? inputs.token_type_ids : one_token_type(tape, inputs);
    const Var x =
        engine::embed(tape, embeddings_, inputs.input_ids, inputs.rows.position, types,
                      static_cast<float>(config_.hidden_dropout_prob), "albert.embeddings", inputs.rows);
    return run_layers(tape, engine::linear(tape, x, map_in_), layers_, inputs, rows);
  }
  int64_t max_positions() const override { return embeddings_.position->rows(); }
  engine::Parameter* word_embeddings() const override { return embeddings_.word; }
  engine::Embeddings* embeddings() override { return &embeddings_; }

 private:
  AlbertConfig config_;
  engine::Embeddings embeddings_;
  engine::Linear map_in_;
  std::vector<PostNormLayer> layers_;  // in the order of the pass; those of a group share their parameters
};

// tanh pooler, dropout, classifier
Network make_albert_pooled(engine::ParameterStore& store, const AlbertConfig& c, int64_t outputs) {
  auto encoder = std::make_unique<AlbertEncoder>(store, c, false);
  return with_pooler_head(std::move(encoder), store,
                          Scope(store, "albert").linear("pooler", c.hidden_size, c.hidden_size), outputs,
                          c.classifier_dropout_prob);
}

Network make_albert_sequence_classification(engine::ParameterStore& store, const ModelConfig& config) {
  const AlbertConfig c = AlbertConfig::read(config);
  return make_albert_pooled(store, c, c.num_labels);
}

Network make_albert_multiple_choice(engine::ParameterStore& store, const ModelConfig& config) {
  return make_albert_pooled(store, AlbertConfig::read(config), 1);
}

Network make_albert_question_answering(engine::ParameterStore& store, const ModelConfig& config) {
  const AlbertConfig c = AlbertConfig::read(config);
  return with_span_head(std::make_unique<AlbertEncoder>(store, c, false), store, c.hidden_size);
}

Network make_albert_token_classification(engine::ParameterStore& store, const ModelConfig& config) {
  const AlbertConfig c = AlbertConfig::read(config);
  return with_token_head(std::make_unique<AlbertEncoder>(store, c, false), store, c.hidden_size, c.num_labels,
                         c.classifier_dropout_prob);
}

Network make_albert_masked_lm(engine::ParameterStore& store, const ModelConfig& config) {
  const AlbertConfig c = AlbertConfig::read(config);
  auto encoder = std::make_unique<AlbertEncoder>(store, c, c.tie_word_embeddings);
  const Scope s(store, "predictions");
  MaskedLmHead head;
  head.dense = s.linear("dense", c.embedding_size, c.hidden_size);
  head.activation = c.hidden_act;
  head.norm = s.norm("LayerNorm", c.embedding_size, c.layer_norm_eps);
  return with_masked_lm_head(std::move(encoder), std::move(head), s, c.vocab_size, c.tie_word_embeddings);
}

Network make_albert_sentence_embedding(engine::ParameterStore& store, const ModelConfig& config) {
  const AlbertConfig c = AlbertConfig::read(config);
  auto encoder = std::make_unique<AlbertEncoder>(store, c, false);
  keep_pooler(Scope(store, "albert").linear("pooler", c.hidden_size, c.hidden_size));
  return with_pooling(std::move(encoder), store, config, c.hidden_size);
}

}  // namespace

const Family& albert_family() {
  static const Family family = [] {
    Family f = {
        "albert",
        "Albert",
        "albert",
        "albert.embeddings",
        "albert.encoder.albert_layer_groups",
        {"hidden_size", "intermediate_size", "num_hidden_groups"},
        {{&kSequenceClassification, make_albert_sequence_classification},
         {&kTokenClassification, make_albert_token_classification},
         {&kMaskedLm, make_albert_masked_lm},
         {&kQuestionAnswering, make_albert_question_answering},
         {&kMultipleChoice, make_albert_multiple_choice},
         {&kSentenceEmbedding, make_albert_sentence_embedding}},
        {{"embedding_size", "hidden_size", "num_hidden_layers", "num_hidden_groups", "inner_group_num",
          "num_attention_heads", "intermediate_size", "hidden_act", "hidden_dropout_prob",
          "attention_probs_dropout_prob", "type_vocab_size", "layer_norm_eps", "classifier_dropout_prob"},
         {{"position_embedding_type", "\"absolute\"", "positions that are not learned embeddings"}},
         {},
         {"down_scale_factor", "gap_size", "net_structure_type", "num_memory_blocks", "layers_to_keep"}},
        {"predictions.decoder.weight", "predictions.decoder.bias", "predictions.bias"}};
    f.below_layers = {"albert.encoder.embedding_hidden_mapping_in"};
    return f;
  }();
  return family;
}

}  // namespace graft::models
