#include "models/electra.h"

#include <optional>

#include "base/error.h"
#include "base/shown.h"
#include "models/heads.h"
#include "models/pooling.h"
#include "models/registry.h"
#include "models/transformer.h"

namespace graft::models {

using engine::Tape;
using engine::Var;

namespace {

// config.json (ElectraConfig of transformers 5.24).
struct ElectraConfig : PostNormConfig {
  int64_t embedding_size = 128, type_vocab_size = 2;
  double classifier_dropout = 0.1;
  std::optional<int64_t> pad_token_id;  // none: null in the file

  // Throws Error naming file and key.
  static ElectraConfig read(const ModelConfig& config) {
    ElectraConfig c;
    c.read_shared(config);
    c.embedding_size = config.size_or("embedding_size", 128);
    c.type_vocab_size = config.size_or("type_vocab_size", 2);
    c.classifier_dropout = config.probability_or("classifier_dropout", c.hidden_dropout_prob);
    if (!config.is_null("pad_token_id")) c.pad_token_id = config.integer_or("pad_token_id", 0);
    return c;
  }
};

constexpr PostNormNames kElectraLayerNames = {
    {"attention.self.query", "attention.self.key", "attention.self.value"},
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm"};

class ElectraEncoder : public Encoder {
 public:
  // `tied`: a matrix product reads the word embeddings (a masked-LM head does). `shared`: tables of another
  // encoder, in place of own ones where they are set.
  ElectraEncoder(engine::ParameterStore& store, const ElectraConfig& config, bool tied, const Scope& root,
                 engine::Embeddings shared = {})
      : config_(config), embeddings_(shared), scope_(root.name()) {
    const int64_t E = config.embedding_size, H = config.hidden_size;
    const Scope e = root / "embeddings";
    if (!shared.word)
      embeddings_.word =
          e.embedding("word_embeddings", config.vocab_size, E, !tied, config.pad_token_id.value_or(-1));
    if (!shared.position)
      embeddings_.position = e.embedding("position_embeddings", config.max_position_embeddings, E, false);
    if (!shared.token_type)
      embeddings_.token_type = e.embedding("token_type_embeddings", config.type_vocab_size, E, false);
    if (!shared.norm.weight) embeddings_.norm = e.norm("LayerNorm", E, config.layer_norm_eps);
    if (E != H) project_ = root.linear("embeddings_project", H, E);
    const PostNormSizes sizes = config.sizes();
    for (int64_t i = 0; i < config.num_hidden_layers; ++i)
      layers_.push_back(
          make_post_norm_layer(store, root / "encoder.layer" / std::to_string(i), kElectraLayerNames, sizes));
  }
  ElectraEncoder(engine::ParameterStore& store, const ElectraConfig& config, bool tied)
      : ElectraEncoder(store, config, tied, Scope(store, "electra")) {}

  Var encode(Tape& tape, const Inputs& inputs, const RowSelection& rows) const override {
    const int32_t* types = config_.type_vocab_size > 1 ? inputs.token_type_ids : one_token_type(tape, inputs);
    Var x =
        engine::embed(tape, embeddings_, inputs.input_ids, inputs.rows.position, types,
                      static_cast<float>(config_.hidden_dropout_prob), scope_ + ".embeddings", inputs.rows);
    x = adapted_embeddings(tape, x, inputs);
    if (project_.weight) x = engine::linear(tape, x, project_);
    return run_layers(tape, x, layers_, inputs, rows);
  }
  int64_t max_positions() const override { return embeddings_.position->rows(); }
  engine::Parameter* word_embeddings() const override { return embeddings_.word; }
  engine::Embeddings* embeddings() override { return &embeddings_; }
  std::vector<PostNormLayer>* post_norm_layers() override { return &layers_; }

 private:
  ElectraConfig config_;
  engine::Embeddings embeddings_;
  std::string scope_;       // keys the dropout of the embeddings
  engine::Linear project_;  // of embeddings whose size is not the hidden one
  std::vector<PostNormLayer> layers_;
};

Network make_electra_sequence_classification(engine::ParameterStore& store, const ModelConfig& config) {
  const ElectraConfig c = ElectraConfig::read(config);
  return with_dense_head(std::make_unique<ElectraEncoder>(store, c, false), store, c.hidden_size,
                         c.num_labels, engine::Activation::gelu,
                         c.classifier_dropout);  // whatever hidden_act is
}

Network make_electra_token_classification(engine::ParameterStore& store, const ModelConfig& config) {
  const ElectraConfig c = ElectraConfig::read(config);
  return with_token_head(std::make_unique<ElectraEncoder>(store, c, false), store, c.hidden_size,
                         c.num_labels, c.classifier_dropout);
}

Network make_electra_question_answering(engine::ParameterStore& store, const ModelConfig& config) {
  const ElectraConfig c = ElectraConfig::read(config);
  return with_span_head(std::make_unique<ElectraEncoder>(store, c, false), store, c.hidden_size);
}

// The reference's sequence summary as its defaults have it: a layer on the first row.
void check_summary(const ModelConfig& config) {
  const auto refuse = [&](const char* key, const char* accepted) {
    fail_with(fmt::format("use a checkpoint with \"{}\": {}", key, accepted),
              "{}: \"{}\" is {}: it asks for another summary of a sequence, which graft does not implement",
              config.origin(), key, shown(config.json().value(key, Json()).dump()));
  };
  if (config.text_or("summary_type", "first") != "first") refuse("summary_type", "\"first\"");
  if (config.is_null("summary_use_proj") || !config.flag_or("summary_use_proj", true))
    refuse("summary_use_proj", "true");
  if (config.flag_or("summary_proj_to_labels", false)) refuse("summary_proj_to_labels", "false");
}

Network make_electra_multiple_choice(engine::ParameterStore& store, const ModelConfig& config) {
  const ElectraConfig c = ElectraConfig::read(config);
  check_summary(config);
  Network n;
  n.encoder = std::make_unique<ElectraEncoder>(store, c, false);
  ClassificationHead head;
  head.dense = Scope(store, "sequence_summary").linear("summary", c.hidden_size, c.hidden_size);
  // Of the reference's default, or none for null and "".
  const std::string activation =
      config.is_null("summary_activation") ? "" : config.text_or("summary_activation", "gelu");
  head.activation =
      activation.empty() ? engine::Activation::none : parse_activation(activation, config.origin());
  head.dropout_before = static_cast<float>(config.probability_or("summary_first_dropout", 0));
  head.dropout_after = static_cast<float>(config.probability_or("summary_last_dropout", 0.1));
  head.out = Scope(store, "").linear("classifier", 1, c.hidden_size);
  n.head = std::make_unique<ClassificationHead>(std::move(head));
  return n;
}

// The generator's head, on an encoder of this config.
Network with_generator_head(std::unique_ptr<ElectraEncoder> encoder, const ElectraConfig& c,
                            const Scope& scope) {
  const Scope s = scope / "generator_predictions";
  MaskedLmHead head;
  head.dense = s.linear("dense", c.embedding_size, c.hidden_size);
  head.activation = engine::Activation::gelu;  // independent of hidden_act, as in the reference
  head.norm = s.norm("LayerNorm", c.embedding_size, c.layer_norm_eps);
  return with_masked_lm_head(std::move(encoder), std::move(head), scope, c.vocab_size, c.tie_word_embeddings,
                             {"generator_lm_head.bias", "generator_lm_head"});
}

Network make_electra_masked_lm(engine::ParameterStore& store, const ModelConfig& config) {
  const ElectraConfig c = ElectraConfig::read(config);
  return with_generator_head(std::make_unique<ElectraEncoder>(store, c, c.tie_word_embeddings), c,
                             Scope(store, ""));
}

// Its word embeddings are dense, as those that it may share.
Network make_electra_generator(engine::ParameterStore& store, const ModelConfig& config,
                               const engine::Embeddings& shared) {
  const ElectraConfig c = ElectraConfig::read(config);
  const Scope scope(store, kGeneratorScope);
  return with_generator_head(std::make_unique<ElectraEncoder>(store, c, true, scope / "electra", shared), c,
                             scope);
}

// The discriminator's head: ElectraDiscriminatorPredictions. A generator may share the word embeddings with
// its decoder, so that they are dense.
Network make_electra_replaced_tokens(engine::ParameterStore& store, const ModelConfig& config) {
  const ElectraConfig c = ElectraConfig::read(config);
  Network n;
  n.encoder = std::make_unique<ElectraEncoder>(store, c, true);
  const Scope s(store, "discriminator_predictions");
  ReplacedTokenHead head;
  head.dense = s.linear("dense", c.hidden_size, c.hidden_size);
  head.activation = c.hidden_act;
  head.dense_prediction = s.linear("dense_prediction", 1, c.hidden_size);
  n.head = std::make_unique<ReplacedTokenHead>(head);
  return n;
}

Network make_electra_sentence_embedding(engine::ParameterStore& store, const ModelConfig& config) {
  const ElectraConfig c = ElectraConfig::read(config);
  auto encoder = std::make_unique<ElectraEncoder>(store, c, false);
  return with_pooling(std::move(encoder), store, config, c.hidden_size);
}

}  // namespace

const Family& electra_family() {
  static const Family family = [] {
    Family f = {"electra",
                "Electra",
                "electra",
                "electra.embeddings",
                "electra.encoder.layer",
                {"hidden_size", "intermediate_size", "num_hidden_layers"},
                {{&kSequenceClassification, make_electra_sequence_classification},
                 {&kTokenClassification, make_electra_token_classification},
                 {&kMaskedLm, make_electra_masked_lm},
                 {&kReplacedTokenDetection, make_electra_replaced_tokens, "ForPreTraining"},
                 {&kQuestionAnswering, make_electra_question_answering},
                 {&kMultipleChoice, make_electra_multiple_choice},
                 {&kSentenceEmbedding, make_electra_sentence_embedding}},
                {{"embedding_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
                  "intermediate_size", "hidden_act", "hidden_dropout_prob", "attention_probs_dropout_prob",
                  "type_vocab_size", "layer_norm_eps", "classifier_dropout"},
                 {{"position_embedding_type", "\"absolute\"", "positions that are not learned embeddings"}},
                 {}},
                {"generator_lm_head.weight", nullptr, nullptr}};
    f.below_layers = {"electra.embeddings_project"};
    f.make_generator = make_electra_generator;
    return f;
  }();
  return family;
}

}  // namespace graft::models
