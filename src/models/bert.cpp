#include "models/bert.h"

#include <algorithm>

#include "base/error.h"
#include "models/heads.h"

namespace graft::models {

using engine::Tape;
using engine::Var;

BertEncoder::BertEncoder(engine::ParameterStore& store, const std::string& scope, const ModelConfig& config,
                         bool tied, bool positions_after_padding)
    : scope_(scope), positions_after_padding_(positions_after_padding) {
  const int64_t H = config.integer("hidden_size"), heads = config.integer("num_attention_heads");
  const int64_t wide = config.integer("intermediate_size");
  const double eps = config.number_or("layer_norm_eps", 1e-12);
  check_heads(config, H, heads);
  padding_id_ = config.integer_or("pad_token_id", positions_after_padding ? 1 : 0);
  if (positions_after_padding && config.is_null("pad_token_id"))
    fail("{}: \"pad_token_id\" is null; a {} counts its positions from there", config.origin(),
         config.model_type());
  hidden_dropout_ = static_cast<float>(config.number_or("hidden_dropout_prob", 0.1));

  const Scope root(store, scope), e = root / "embeddings";
  embeddings_.word = e.embedding("word_embeddings", config.integer("vocab_size"), H, !tied,
                                 config.is_null("pad_token_id") ? -1 : padding_id_);
  embeddings_.position = e.embedding("position_embeddings", config.integer("max_position_embeddings"), H,
                                     false, positions_after_padding ? padding_id_ : -1);
  embeddings_.token_type =
      e.embedding("token_type_embeddings", config.size_or("type_vocab_size", 2), H, false);
  embeddings_.norm = e.norm("LayerNorm", H, eps);
  for (int64_t i = 0; i < config.integer("num_hidden_layers"); ++i) {
    const Scope s = root / "encoder.layer" / std::to_string(i);
    PostNormLayer layer;
    layer.scope = s.name();
    layer.qkv = s.linear_group({"attention.self.query", "attention.self.key", "attention.self.value"}, H, H);
    layer.query = part_of(store, layer.qkv, 0, 1);
    layer.key_value = part_of(store, layer.qkv, 1, 2);
    layer.attention_output = s.linear("attention.output.dense", H, H);
    layer.attention_norm = s.norm("attention.output.LayerNorm", H, eps);
    layer.intermediate = s.linear("intermediate.dense", wide, H);
    layer.output = s.linear("output.dense", H, wide);
    layer.output_norm = s.norm("output.LayerNorm", H, eps);
    layer.activation = parse_activation(config.text_or("hidden_act", "gelu"), config.origin());
    layer.attention = attention_options(H, heads, config.number_or("attention_probs_dropout_prob", 0.1));
    layer.attention_output_dropout = layer.hidden_dropout = hidden_dropout_;
    layers_.push_back(std::move(layer));
  }
}

int64_t BertEncoder::max_positions() const {
  return embeddings_.position->rows() - (positions_after_padding_ ? padding_id_ + 1 : 0);
}

const int32_t* BertEncoder::position_ids(Tape& tape, const Inputs& inputs) const {
  if (!positions_after_padding_) return inputs.rows.position;
  auto* ids = tape.push_array<int32_t>(inputs.rows.num_rows);
  const auto padding = static_cast<int32_t>(padding_id_);
  int32_t count = 0;
  for (int64_t r = 0; r < inputs.rows.num_rows; ++r) {
    if (inputs.rows.position[r] == 0) count = 0;
    ids[r] = inputs.input_ids[r] == padding ? padding : padding + ++count;
  }
  return ids;
}

// A tokenizer may number the texts of a pair 0 and 1 for a model that has one type: the reference's RoBERTa
// does not read the numbers.
const int32_t* BertEncoder::token_type_ids(Tape& tape, const Inputs& inputs) const {
  if (embeddings_.token_type->rows() > 1) return inputs.token_type_ids;
  auto* zeros = tape.push_array<int32_t>(inputs.rows.num_rows);
  std::fill_n(zeros, inputs.rows.num_rows, 0);
  return zeros;
}

Var BertEncoder::encode(Tape& tape, const Inputs& inputs, const int32_t* rows, int64_t n) const {
  const Var x =
      engine::embed(tape, embeddings_, inputs.input_ids, position_ids(tape, inputs),
                    token_type_ids(tape, inputs), hidden_dropout_, scope_ + ".embeddings", inputs.rows);
  return run_layers(tape, x, layers_, inputs, rows, n);
}

namespace {

int64_t num_labels(const ModelConfig& config) { return static_cast<int64_t>(config.label_names().size()); }

double classifier_dropout(const ModelConfig& config) {
  return config.number_or("classifier_dropout", config.number_or("hidden_dropout_prob", 0.1));
}

// What the masked-LM heads of BERT and RoBERTa are called, and where they differ.
struct MaskedLmNames {
  const char *scope, *dense, *norm;
  engine::Activation activation;
  bool positions_after_padding;
};

Network make_masked_lm(engine::ParameterStore& store, const ModelConfig& config, const std::string& root,
                       const MaskedLmNames& names) {
  const int64_t H = config.integer("hidden_size"), V = config.integer("vocab_size");
  Network n;
  const bool tied = config.flag_or("tie_word_embeddings", true);
  n.encoder = std::make_unique<BertEncoder>(store, root, config, tied, names.positions_after_padding);
  const Scope s(store, names.scope);
  MaskedLmHead head;
  head.dense = s.linear(names.dense, H, H);
  head.activation = names.activation;
  head.norm = s.norm(names.norm, H, config.number_or("layer_norm_eps", 1e-12));
  if (tied) {
    head.decoder.weight = n.encoder->word_embeddings();
    head.decoder.bias = s.bias("bias", V);
  } else {
    head.decoder = s.linear("decoder", V, H);
  }
  n.head = std::make_unique<MaskedLmHead>(std::move(head));
  return n;
}

}  // namespace

Network make_bert_sequence_classification(engine::ParameterStore& store, const ModelConfig& config) {
  const int64_t H = config.integer("hidden_size");
  Network n;
  n.encoder = std::make_unique<BertEncoder>(store, "bert", config, false, false);
  ClassificationHead head;  // BERT: tanh pooler, dropout, classifier
  head.dense = Scope(store, "bert").linear("pooler.dense", H, H);
  head.activation = engine::Activation::tanh;
  head.is_pooler = true;
  head.out = Scope(store, "").linear("classifier", num_labels(config), H);
  head.dropout_after = static_cast<float>(classifier_dropout(config));
  n.head = std::make_unique<ClassificationHead>(std::move(head));
  return n;
}

Network make_bert_masked_lm(engine::ParameterStore& store, const ModelConfig& config) {
  const engine::Activation act = parse_activation(config.text_or("hidden_act", "gelu"), config.origin());
  return make_masked_lm(store, config, "bert",
                        {"cls.predictions", "transform.dense", "transform.LayerNorm", act, false});
}

Network make_roberta_sequence_classification(engine::ParameterStore& store, const ModelConfig& config) {
  const int64_t H = config.integer("hidden_size");
  Network n;
  n.encoder = std::make_unique<BertEncoder>(store, "roberta", config, false, true);
  const Scope s(store, "classifier");
  ClassificationHead head;  // RoBERTa: dropout, dense, tanh, dropout, out_proj on <s>
  head.dense = s.linear("dense", H, H);
  head.activation = engine::Activation::tanh;
  head.out = s.linear("out_proj", num_labels(config), H);
  head.dropout_before = head.dropout_after = static_cast<float>(classifier_dropout(config));
  n.head = std::make_unique<ClassificationHead>(std::move(head));
  return n;
}

Network make_roberta_masked_lm(engine::ParameterStore& store, const ModelConfig& config) {
  // gelu, independent of hidden_act, as in the reference
  return make_masked_lm(store, config, "roberta",
                        {"lm_head", "dense", "layer_norm", engine::Activation::gelu, true});
}

}  // namespace graft::models
