#include "models/bert.h"

#include "base/error.h"
#include "models/heads.h"
#include "models/pooling.h"
#include "models/registry.h"

namespace graft::models {

using engine::Tape;
using engine::Var;

BertConfig BertConfig::read(const ModelConfig& config, bool positions_after_padding) {
  BertConfig c;
  c.positions_after_padding = positions_after_padding;
  c.max_position_embeddings = config.integer("max_position_embeddings");  // needed here
  c.read_shared(config);
  c.type_vocab_size = config.size_or("type_vocab_size", 2);
  c.classifier_dropout = config.probability_or("classifier_dropout", c.hidden_dropout_prob);
  if (!config.is_null("pad_token_id"))
    c.pad_token_id = config.integer_or("pad_token_id", positions_after_padding ? 1 : 0);
  else if (positions_after_padding)
    fail("{}: \"pad_token_id\" is null; a {} counts its positions from there", config.origin(),
         config.model_type());
  if (c.max_positions() < 1)
    fail("{}: \"max_position_embeddings\" leaves no position for a token", config.origin());
  return c;
}

int64_t BertConfig::max_positions() const {
  return max_position_embeddings - (positions_after_padding ? *pad_token_id + 1 : 0);
}

namespace {

constexpr PostNormNames kLayerNames = {{"attention.self.query", "attention.self.key", "attention.self.value"},
                                       "attention.output.dense",
                                       "attention.output.LayerNorm",
                                       "intermediate.dense",
                                       "output.dense",
                                       "output.LayerNorm"};

}  // namespace

BertEncoder::BertEncoder(engine::ParameterStore& store, const std::string& scope, const BertConfig& config,
                         bool tied)
    : scope_(scope), config_(config) {
  const int64_t H = config.hidden_size, padding = config.pad_token_id.value_or(-1);
  const Scope root(store, scope), e = root / "embeddings";
  embeddings_.word = e.embedding("word_embeddings", config.vocab_size, H, !tied, padding);
  embeddings_.position = e.embedding("position_embeddings", config.max_position_embeddings, H, false,
                                     config.positions_after_padding ? padding : -1);
  embeddings_.token_type = e.embedding("token_type_embeddings", config.type_vocab_size, H, false);
  embeddings_.norm = e.norm("LayerNorm", H, config.layer_norm_eps);
  const PostNormSizes sizes = config.sizes();
  for (int64_t i = 0; i < config.num_hidden_layers; ++i)
    layers_.push_back(
        make_post_norm_layer(store, root / "encoder.layer" / std::to_string(i), kLayerNames, sizes));
}

Var BertEncoder::encode(Tape& tape, const Inputs& inputs, const RowSelection& rows) const {
  const int32_t* positions =
      config_.positions_after_padding
          ? positions_after_padding(tape, inputs, static_cast<int32_t>(*config_.pad_token_id))
          : inputs.rows.position;
  const int32_t* types = config_.type_vocab_size > 1 ? inputs.token_type_ids : one_token_type(tape, inputs);
  const Var x =
      engine::embed(tape, embeddings_, inputs.input_ids, positions, types,
                    static_cast<float>(config_.hidden_dropout_prob), scope_ + ".embeddings", inputs.rows);
  return run_layers(tape, adapted_embeddings(tape, x, inputs), layers_, inputs, rows);
}

namespace {

// The names of the masked-LM heads of BERT and RoBERTa.
struct MaskedLmNames {
  const char *scope, *dense, *norm;
};

Network make_masked_lm(engine::ParameterStore& store, const BertConfig& c, const std::string& root,
                       const MaskedLmNames& names, engine::Activation activation) {
  auto encoder = std::make_unique<BertEncoder>(store, root, c, c.tie_word_embeddings);
  const Scope s(store, names.scope);
  MaskedLmHead head;
  head.dense = s.linear(names.dense, c.hidden_size, c.hidden_size);
  head.activation = activation;
  head.norm = s.norm(names.norm, c.hidden_size, c.layer_norm_eps);
  return with_masked_lm_head(std::move(encoder), std::move(head), s, c.vocab_size, c.tie_word_embeddings);
}

// tanh pooler, dropout, classifier
Network make_pooled(engine::ParameterStore& store, const BertConfig& c, const std::string& root,
                    int64_t outputs, double dropout) {
  auto encoder = std::make_unique<BertEncoder>(store, root, c, false);
  return with_pooler_head(std::move(encoder), store,
                          Scope(store, root).linear("pooler.dense", c.hidden_size, c.hidden_size), outputs,
                          dropout);
}

Network make_bert_sequence_classification(engine::ParameterStore& store, const ModelConfig& config) {
  const BertConfig c = BertConfig::read(config, false);
  return make_pooled(store, c, "bert", c.num_labels, c.classifier_dropout);
}

Network make_bert_multiple_choice(engine::ParameterStore& store, const ModelConfig& config) {
  const BertConfig c = BertConfig::read(config, false);
  return make_pooled(store, c, "bert", 1, c.classifier_dropout);
}

Network make_bert_question_answering(engine::ParameterStore& store, const ModelConfig& config) {
  const BertConfig c = BertConfig::read(config, false);
  return with_span_head(std::make_unique<BertEncoder>(store, "bert", c, false), store, c.hidden_size);
}

Network make_token_classification(engine::ParameterStore& store, const BertConfig& c, const char* root) {
  return with_token_head(std::make_unique<BertEncoder>(store, root, c, false), store, c.hidden_size,
                         c.num_labels, c.classifier_dropout);
}

Network make_bert_token_classification(engine::ParameterStore& store, const ModelConfig& config) {
  return make_token_classification(store, BertConfig::read(config, false), "bert");
}

// RoBERTa and its kin, by the prefix of their tensors.
constexpr char kRoberta[] = "roberta", kData2VecText[] = "data2vec_text";

template <const char* root>
Network make_roberta_token_classification(engine::ParameterStore& store, const ModelConfig& config) {
  return make_token_classification(store, BertConfig::read(config, true), root);
}

Network make_bert_masked_lm(engine::ParameterStore& store, const ModelConfig& config) {
  const BertConfig c = BertConfig::read(config, false);
  return make_masked_lm(store, c, "bert", {"cls.predictions", "transform.dense", "transform.LayerNorm"},
                        c.hidden_act);
}

template <const char* root>
Network make_roberta_sequence_classification(engine::ParameterStore& store, const ModelConfig& config) {
  const BertConfig c = BertConfig::read(config, true);
  return with_dense_head(std::make_unique<BertEncoder>(store, root, c, false), store, c.hidden_size,
                         c.num_labels, engine::Activation::tanh, c.classifier_dropout);
}

// The encoder's pooler and, unlike the classifier, hidden_dropout_prob, as in the reference.
template <const char* root>
Network make_roberta_multiple_choice(engine::ParameterStore& store, const ModelConfig& config) {
  const BertConfig c = BertConfig::read(config, true);
  return make_pooled(store, c, root, 1, c.hidden_dropout_prob);
}

template <const char* root>
Network make_roberta_question_answering(engine::ParameterStore& store, const ModelConfig& config) {
  const BertConfig c = BertConfig::read(config, true);
  return with_span_head(std::make_unique<BertEncoder>(store, root, c, false), store, c.hidden_size);
}

template <const char* root>
Network make_roberta_masked_lm(engine::ParameterStore& store, const ModelConfig& config) {
  // gelu, independent of hidden_act, as in the reference
  return make_masked_lm(store, BertConfig::read(config, true), root, {"lm_head", "dense", "layer_norm"},
                        engine::Activation::gelu);
}

Network make_bert_like_sentence_embedding(engine::ParameterStore& store, const BertConfig& c,
                                          const std::string& root, const ModelConfig& config) {
  auto encoder = std::make_unique<BertEncoder>(store, root, c, false);
  keep_pooler(Scope(store, root).linear("pooler.dense", c.hidden_size, c.hidden_size));
  return with_pooling(std::move(encoder), store, config, c.hidden_size);
}

Network make_bert_sentence_embedding(engine::ParameterStore& store, const ModelConfig& config) {
  return make_bert_like_sentence_embedding(store, BertConfig::read(config, false), "bert", config);
}

template <const char* root>
Network make_roberta_sentence_embedding(engine::ParameterStore& store, const ModelConfig& config) {
  return make_bert_like_sentence_embedding(store, BertConfig::read(config, true), root, config);
}

const FamilyKeys& keys() {
  static const FamilyKeys keys = {
      {"hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
       "hidden_dropout_prob", "attention_probs_dropout_prob", "type_vocab_size", "layer_norm_eps",
       "classifier_dropout"},
      {{"position_embedding_type", "\"absolute\"", "positions that are not learned embeddings"}},
      {}};
  return keys;
}

constexpr SizeKeys kSizes = {"hidden_size", "intermediate_size", "num_hidden_layers"};

template <const char* root>
Family roberta_like(const char* model_type, const char* class_prefix, const char* embeddings,
                    const char* layers) {
  return {model_type,
          class_prefix,
          root,
          embeddings,
          layers,
          kSizes,
          {{&kSequenceClassification, make_roberta_sequence_classification<root>},
           {&kTokenClassification, make_roberta_token_classification<root>},
           {&kMaskedLm, make_roberta_masked_lm<root>},
           {&kQuestionAnswering, make_roberta_question_answering<root>},
           {&kMultipleChoice, make_roberta_multiple_choice<root>},
           {&kSentenceEmbedding, make_roberta_sentence_embedding<root>}},
          keys(),
          {"lm_head.decoder.weight", "lm_head.decoder.bias", "lm_head.bias"}};
}

}  // namespace

const Family& bert_family() {
  static const Family family = {
      "bert",
      "Bert",
      "bert",
      "bert.embeddings",
      "bert.encoder.layer",
      kSizes,
      {{&kSequenceClassification, make_bert_sequence_classification},
       {&kTokenClassification, make_bert_token_classification},
       {&kMaskedLm, make_bert_masked_lm},
       {&kQuestionAnswering, make_bert_question_answering},
       {&kMultipleChoice, make_bert_multiple_choice},
       {&kSentenceEmbedding, make_bert_sentence_embedding}},
      keys(),
      {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias", "cls.predictions.bias"}};
  return family;
}

const Family& roberta_family() {
  static const Family family =
      roberta_like<kRoberta>("roberta", "Roberta", "roberta.embeddings", "roberta.encoder.layer");
  return family;
}
const Family& xlm_roberta_family() {
  static const Family family =
      roberta_like<kRoberta>("xlm-roberta", "XLMRoberta", "roberta.embeddings", "roberta.encoder.layer");
  return family;
}
const Family& camembert_family() {
  static const Family family =
      roberta_like<kRoberta>("camembert", "Camembert", "roberta.embeddings", "roberta.encoder.layer");
  return family;
}
const Family& data2vec_text_family() {
  static const Family family = roberta_like<kData2VecText>(
      "data2vec-text", "Data2VecText", "data2vec_text.embeddings", "data2vec_text.encoder.layer");
  return family;
}

}  // namespace graft::models
