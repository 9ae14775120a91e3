#include "models/deberta_v2.h"

#include <algorithm>
#include <cmath>
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

// config.json (DebertaV2Config of transformers 5.24, and what its modules read beside it).
struct DebertaV2Config : PostNormConfig {
  int64_t type_vocab_size = 0;
  engine::Activation pooler_hidden_act = engine::Activation::gelu;
  double pooler_dropout = 0, cls_dropout = 0.1;
  std::optional<int64_t> pad_token_id;  // none: null in the file
  bool position_biased_input = true, legacy = true;
  // Relative positions: buckets (0 = none, a row for each distance), the largest distance, and which terms.
  bool relative_attention = false, c2p = false, p2c = false, share_att_key = false, norm_rel_ebd = false;
  int64_t position_buckets = 0, max_relative_positions = 0;

  // Throws Error naming file and key.
  static DebertaV2Config read(const ModelConfig& config) {
    DebertaV2Config c;
    c.layer_norm_eps = 1e-7;
    c.read_shared(config);
    c.type_vocab_size = config.integer_or("type_vocab_size", 0);
    c.pooler_hidden_act = parse_activation(config.text_or("pooler_hidden_act", "gelu"), config.origin());
    c.pooler_dropout = config.probability_or("pooler_dropout", 0);
    c.cls_dropout = config.probability_or("cls_dropout", c.hidden_dropout_prob);
    if (!config.is_null("pad_token_id")) c.pad_token_id = config.integer_or("pad_token_id", 0);
    c.position_biased_input = config.flag_or("position_biased_input", true);
    c.legacy = config.flag_or("legacy", true);
    for (const auto& [key, size] : {std::pair{"embedding_size", c.hidden_size},
                                    {"pooler_hidden_size", c.hidden_size},
                                    {"attention_head_size", c.hidden_size / c.num_attention_heads}}) {
      if (config.size_or(key, size) != size)
        fail("{}: \"{}\" is {}; graft implements {} only, which follows from \"hidden_size\"",
             config.origin(), key, config.size_or(key, size), size);
    }
    c.read_positions(config);
    return c;
  }

 private:
  void read_positions(const ModelConfig& config) {
    relative_attention = config.flag_or("relative_attention", false);
    share_att_key = config.flag_or("share_att_key", false);
    for (const std::string& term : names(config, "pos_att_type", "")) {
      if (term != "c2p" && term != "p2c")
        fail_with("write \"c2p\", \"p2c\" or both", "{}: \"pos_att_type\" has {}", config.origin(),
                  shown(term));
      (term == "c2p" ? c2p : p2c) = true;
    }
    if (relative_attention && !c2p && !p2c)
      fail("{}: \"relative_attention\" is true, but \"pos_att_type\" names no term that reads it",
           config.origin());
    for (const std::string& norm : names(config, "norm_rel_ebd", "none"))
      norm_rel_ebd |= norm == "layer_norm";
    position_buckets = std::max<int64_t>(config.integer_or("position_buckets", -1), 0);
    max_relative_positions = config.integer_or("max_relative_positions", -1);
    if (max_relative_positions < 1) max_relative_positions = max_position_embeddings;
    const int64_t middle = position_buckets / 2;
    if (relative_attention && position_buckets > 0 && (middle < 1 || max_relative_positions <= middle + 1))
      fail("{}: {} \"position_buckets\" for distances up to {}", config.origin(), position_buckets,
           max_relative_positions);
  }

  // ["p2c", "c2p"] or "p2c|c2p".
  static std::vector<std::string> names(const ModelConfig& config, const char* key, const char* other) {
    const Json value = config.json().value(key, Json());
    std::vector<std::string> out;
    if (value.is_array()) {
      for (const auto& one : value) {
        if (!one.is_string()) fail("{}: \"{}\" must be an array of names", config.origin(), key);
        out.push_back(one.get<std::string>());
      }
      return out;
    }
    std::string text = config.text_or(key, other);
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
    std::string word;
    for (const char c : text + "|") {
      if (c == ' ') continue;
      if (c != '|') {
        word += c;
        continue;
      }
      if (!word.empty()) out.push_back(word);
      word.clear();
    }
    return out;
  }
};

constexpr PostNormNames kDebertaLayerNames = {
    {"attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj"},
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm"};

class DebertaV2Encoder : public Encoder {
 public:
  // `tied`: a matrix product reads the word embeddings (a masked-LM head does).
  DebertaV2Encoder(engine::ParameterStore& store, const DebertaV2Config& config, bool tied)
      : config_(config) {
    const int64_t H = config.hidden_size;
    const Scope root(store, "deberta"), e = root / "embeddings";
    embeddings_.word =
        e.embedding("word_embeddings", config.vocab_size, H, !tied, config.pad_token_id.value_or(-1));
    if (config.position_biased_input)
      embeddings_.position = e.embedding("position_embeddings", config.max_position_embeddings, H, false);
    if (config.type_vocab_size > 0)
      embeddings_.token_type = e.embedding("token_type_embeddings", config.type_vocab_size, H, false);
    embeddings_.norm = e.norm("LayerNorm", H, config.layer_norm_eps);
    const PostNormSizes sizes = config.sizes();
    for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
      const Scope scope = root / "encoder.layer" / std::to_string(i);
      layers_.push_back(make_post_norm_layer(store, scope, kDebertaLayerNames, sizes));
      add_positions(store, scope / "attention.self", layers_.back());
    }
    if (config.relative_attention) {
      const int64_t span =
          config.position_buckets > 0 ? config.position_buckets : config.max_relative_positions;
      relative_.word = root.embedding("encoder.rel_embeddings", 2 * span, H, false);
    }
    // The reference declares it with norm_rel_ebd alone; without relative positions nothing reads it.
    if (config.norm_rel_ebd && config.relative_attention)
      relative_.norm = root.norm("encoder.LayerNorm", H, config.layer_norm_eps);
  }

  Var encode(Tape& tape, const Inputs& inputs, const RowSelection& rows) const override {
    const int32_t* types = config_.type_vocab_size > 1 ? inputs.token_type_ids : one_token_type(tape, inputs);
    const Var x =
        engine::embed(tape, embeddings_, inputs.input_ids, inputs.rows.position, types,
                      static_cast<float>(config_.hidden_dropout_prob), "deberta.embeddings", inputs.rows);
    return run_layers(tape, x, layers_, inputs, rows, positions(tape, inputs));
  }
  int64_t max_positions() const override { return config_.max_position_embeddings; }
  engine::Parameter* word_embeddings() const override { return embeddings_.word; }
  engine::Embeddings* embeddings() override { return &embeddings_; }

 private:
  // The scale of the scores, and the projections of the relative positions: those of the contents or their
  // own.
  void add_positions(engine::ParameterStore& store, const Scope& self, PostNormLayer& layer) const {
    const DebertaV2Config& c = config_;
    const int64_t H = c.hidden_size;
    layer.attention.scale =
        1 / std::sqrt(static_cast<float>(layer.attention.head_dim * (1 + (c.c2p ? 1 : 0) + (c.p2c ? 1 : 0))));
    if (!c.relative_attention) return;
    if (c.c2p)
      layer.position_key =
          c.share_att_key ? part_of(store, layer.qkv, 1, 1) : self.linear("pos_key_proj", H, H);
    if (c.p2c) layer.position_query = c.share_att_key ? layer.query : self.linear("pos_query_proj", H, H);
  }

  RelativePositions positions(Tape& tape, const Inputs& inputs) const {
    RelativePositions out;
    if (!config_.relative_attention) return out;
    out.rows = engine::log_relative_rows(tape, config_.position_buckets, config_.max_relative_positions,
                                         inputs.max_position);
    out.dropout = static_cast<float>(config_.hidden_dropout_prob);
    out.dropout_rows = one_sequence(tape, out.rows);
    out.embeddings = engine::embed(tape, relative_, out.rows.ids, nullptr, nullptr, 0, "deberta.encoder",
                                   out.dropout_rows);
    return out;
  }

  // The positions as a sequence: dropout draws for the row of the table, the same in every micro-batch of a
  // step.
  static engine::Rows one_sequence(Tape& tape, const engine::RelativeRows& rows) {
    auto *bounds = tape.push_array<int32_t>(2), *sequence = tape.push_array<int32_t>(rows.n);
    auto* example = tape.push_array<int64_t>(1);
    bounds[0] = 0;
    bounds[1] = static_cast<int32_t>(rows.n);
    example[0] = 0;
    std::fill_n(sequence, rows.n, 0);
    engine::Rows out;
    out.num_rows = rows.n;
    out.num_sequences = 1;
    out.cu_seqlens = bounds;
    out.position = rows.ids;
    out.sequence = sequence;
    out.example = example;
    return out;
  }

  DebertaV2Config config_;
  engine::Embeddings embeddings_, relative_;
  std::vector<PostNormLayer> layers_;
};

// Dropout, dense, activation, dropout, classifier on [CLS]: the reference's ContextPooler.
Network make_deberta_v2_pooled(engine::ParameterStore& store, const DebertaV2Config& c, int64_t outputs) {
  Network n;
  n.encoder = std::make_unique<DebertaV2Encoder>(store, c, false);
  const Scope s(store, "");
  ClassificationHead head;
  head.dense = s.linear("pooler.dense", c.hidden_size, c.hidden_size);
  head.activation = c.pooler_hidden_act;
  head.out = s.linear("classifier", outputs, c.hidden_size);
  head.dropout_before = static_cast<float>(c.pooler_dropout);
  head.dropout_after = static_cast<float>(c.cls_dropout);
  n.head = std::make_unique<ClassificationHead>(std::move(head));
  return n;
}

Network make_deberta_v2_sequence_classification(engine::ParameterStore& store, const ModelConfig& config) {
  const DebertaV2Config c = DebertaV2Config::read(config);
  return make_deberta_v2_pooled(store, c, c.num_labels);
}

Network make_deberta_v2_multiple_choice(engine::ParameterStore& store, const ModelConfig& config) {
  return make_deberta_v2_pooled(store, DebertaV2Config::read(config), 1);
}

Network make_deberta_v2_question_answering(engine::ParameterStore& store, const ModelConfig& config) {
  const DebertaV2Config c = DebertaV2Config::read(config);
  return with_span_head(std::make_unique<DebertaV2Encoder>(store, c, false), store, c.hidden_size);
}

Network make_deberta_v2_token_classification(engine::ParameterStore& store, const ModelConfig& config) {
  const DebertaV2Config c = DebertaV2Config::read(config);
  return with_token_head(std::make_unique<DebertaV2Encoder>(store, c, false), store, c.hidden_size,
                         c.num_labels, c.hidden_dropout_prob);
}

// Two forms: that of "legacy", and the one of the original checkpoints, which always reads the word
// embeddings.
Network make_deberta_v2_masked_lm(engine::ParameterStore& store, const ModelConfig& config) {
  const DebertaV2Config c = DebertaV2Config::read(config);
  const bool tied = c.tie_word_embeddings || !c.legacy;
  auto encoder = std::make_unique<DebertaV2Encoder>(store, c, tied);
  const Scope top(store, c.legacy ? "cls.predictions" : "lm_predictions.lm_head"),
      s = c.legacy ? top / "transform" : top;
  MaskedLmHead head;
  head.dense = s.linear("dense", c.hidden_size, c.hidden_size);
  head.activation = c.hidden_act;
  head.norm = s.norm("LayerNorm", c.hidden_size, c.layer_norm_eps);
  return with_masked_lm_head(std::move(encoder), std::move(head), top, c.vocab_size, tied);
}

Network make_deberta_v2_sentence_embedding(engine::ParameterStore& store, const ModelConfig& config) {
  const DebertaV2Config c = DebertaV2Config::read(config);
  return with_pooling(std::make_unique<DebertaV2Encoder>(store, c, false), store, config, c.hidden_size);
}

}  // namespace

const Family& deberta_v2_family() {
  static const Family family = [] {
    Family f = {
        "deberta-v2",
        "DebertaV2",
        "deberta",
        "deberta.embeddings",
        "deberta.encoder.layer",
        {"hidden_size", "intermediate_size", "num_hidden_layers"},
        {{&kSequenceClassification, make_deberta_v2_sequence_classification},
         {&kTokenClassification, make_deberta_v2_token_classification},
         {&kMaskedLm, make_deberta_v2_masked_lm},
         {&kQuestionAnswering, make_deberta_v2_question_answering},
         {&kMultipleChoice, make_deberta_v2_multiple_choice},
         {&kSentenceEmbedding, make_deberta_v2_sentence_embedding}},
        {{"hidden_size",
          "num_hidden_layers",
          "num_attention_heads",
          "intermediate_size",
          "hidden_act",
          "hidden_dropout_prob",
          "attention_probs_dropout_prob",
          "type_vocab_size",
          "layer_norm_eps",
          "embedding_size",
          "attention_head_size",
          "relative_attention",
          "position_buckets",
          "max_relative_positions",
          "norm_rel_ebd",
          "share_att_key",
          "pos_att_type",
          "position_biased_input",
          "pooler_dropout",
          "pooler_hidden_act",
          "pooler_hidden_size",
          "cls_dropout",
          "legacy"},
         {{"conv_kernel_size", "0", "a convolution behind the first layer"}},
         {},
         {"conv_act", "conv_groups"}},
        {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias", "cls.predictions.bias"},
        {"embeddings.position_embeddings.weight"}};  // of checkpoints whose position_biased_input is false
    f.below_layers = {"deberta.encoder.rel_embeddings", "deberta.encoder.LayerNorm"};
    return f;
  }();
  return family;
}

}  // namespace graft::models
