#include "models/modernbert.h"

#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/shown.h"
#include "engine/basic_ops.h"
#include "models/heads.h"
#include "models/pooling.h"
#include "models/registry.h"
#include "models/transformer.h"

namespace graft::models {

using engine::Tape;
using engine::Var;

namespace {

constexpr const char *kFullAttention = "full_attention", *kSlidingAttention = "sliding_attention";

// config.json (ModernBertConfig of transformers 4.57 and 5.24).
struct ModernBertConfig {
  int64_t vocab_size = 0, hidden_size = 0, intermediate_size = 0, num_hidden_layers = 0,
          num_attention_heads = 0, max_position_embeddings = 8192;
  engine::Activation hidden_activation = engine::Activation::gelu,
                     classifier_activation = engine::Activation::gelu;
  double norm_eps = 1e-5, initializer_range = 0.02, initializer_cutoff_factor = 2;
  double attention_dropout = 0, embedding_dropout = 0, mlp_dropout = 0, classifier_dropout = 0;
  bool norm_bias = false, attention_bias = false, mlp_bias = false, decoder_bias = true,
       classifier_bias = false, mean_pooling = false, tie_word_embeddings = true;
  int64_t local_attention = 128;
  std::vector<bool> is_local;  // of each layer
  double global_rope_theta = 160000, local_rope_theta = 10000;
  std::optional<int64_t> pad_token_id;  // none: null in the file, or the default of a larger vocabulary
  int64_t num_labels = 0;

  // Throws Error naming file and key.
  static ModernBertConfig read(const ModelConfig& config) {
    ModernBertConfig c;
    c.vocab_size = config.integer("vocab_size");
    c.hidden_size = config.integer("hidden_size");
    c.intermediate_size = config.integer("intermediate_size");
    c.num_hidden_layers = config.layers("num_hidden_layers");
    c.num_attention_heads = config.integer("num_attention_heads");
    c.max_position_embeddings = config.size_or("max_position_embeddings", 8192);
    c.hidden_activation = parse_activation(config.text_or("hidden_activation", "gelu"), config.origin());
    c.classifier_activation =
        parse_activation(config.text_or("classifier_activation", "gelu"), config.origin());
    c.norm_eps = config.non_negative_or("norm_eps", 1e-5);
    c.initializer_range = config.number_or("initializer_range", 0.02);
    c.initializer_cutoff_factor = config.is_null("initializer_cutoff_factor")
                                      ? 3
                                      : config.non_negative_or("initializer_cutoff_factor", 2);
    if (c.initializer_cutoff_factor < 0.1)
      fail("{}: \"initializer_cutoff_factor\" is {}; at least 0.1 was expected", config.origin(),
           c.initializer_cutoff_factor);
    c.attention_dropout = config.probability_or("attention_dropout", 0);
    c.embedding_dropout = config.probability_or("embedding_dropout", 0);
    c.mlp_dropout = config.probability_or("mlp_dropout", 0);
    c.classifier_dropout = config.probability_or("classifier_dropout", 0);
    c.norm_bias = config.flag_or("norm_bias", false);
    c.attention_bias = config.flag_or("attention_bias", false);
    c.mlp_bias = config.flag_or("mlp_bias", false);
    c.decoder_bias = config.flag_or("decoder_bias", true);
    c.classifier_bias = config.flag_or("classifier_bias", false);
    c.tie_word_embeddings = config.flag_or("tie_word_embeddings", true);
    c.local_attention = config.size_or("local_attention", 128);
    if (!config.is_null("pad_token_id")) {
      const int64_t pad = config.integer_or("pad_token_id", 50283);
      if (pad < c.vocab_size) c.pad_token_id = pad;
    }
    c.num_labels = static_cast<int64_t>(config.label_names().size());
    c.read_pooling(config);
    c.read_layers(config);
    c.read_rope(config);
    check_heads(config, c.hidden_size, c.num_attention_heads);
    if (c.head_dim() % 2 != 0)
      fail("{}: heads of {} values have no rotary positions, which need an even number", config.origin(),
           c.head_dim());
    return c;
  }

  int64_t head_dim() const { return hidden_size / num_attention_heads; }

 private:
  void read_pooling(const ModelConfig& config) {
    const std::string pooling = config.text_or("classifier_pooling", "cls");
    if (pooling != "cls" && pooling != "mean")
      fail_with("write \"cls\" or \"mean\"", "{}: \"classifier_pooling\" is \"{}\"", config.origin(),
                shown(pooling));
    mean_pooling = pooling == "mean";
  }

  // Release 5 names the kind of each layer; release 4 has every n-th layer global, from the first on.
  void read_layers(const ModelConfig& config) {
    const int64_t every = config.size_or("global_attn_every_n_layers", 3);
    for (int64_t i = 0; i < num_hidden_layers; ++i) is_local.push_back(i % every != 0);
    const Json types = config.json().value("layer_types", Json());
    if (types.is_null()) return;
    if (!types.is_array() || static_cast<int64_t>(types.size()) != num_hidden_layers)
      fail("{}: \"layer_types\" must be an array of {} names, one a layer", config.origin(),
           num_hidden_layers);
    for (size_t i = 0; i < types.size(); ++i) {
      if (types[i] != kFullAttention && types[i] != kSlidingAttention)
        fail_with(fmt::format("write \"{}\" or \"{}\"", kFullAttention, kSlidingAttention),
                  "{}: \"layer_types\" has {} for layer {}", config.origin(), shown(types[i].dump()), i);
      is_local[i] = types[i] == kSlidingAttention;
    }
  }

  // The base of each kind of layer: rope_parameters of release 5 where it has one, else the key of release 4.
  void read_rope(const ModelConfig& config) {
    global_rope_theta = theta(config, kFullAttention, positive(config, "global_rope_theta", 160000));
    // null asks release 4 for the base of the global layers
    const double local =
        config.is_null("local_rope_theta") ? global_rope_theta : positive(config, "local_rope_theta", 10000);
    local_rope_theta = theta(config, kSlidingAttention, local);
  }

  static double positive(const ModelConfig& config, const char* key, double other) {
    const double x = config.number_or(key, other);
    if (!(x > 0) || !std::isfinite(x))
      fail("{}: \"{}\" is {}; a positive number was expected", config.origin(), key, x);
    return x;
  }

  static double theta(const ModelConfig& config, const char* kind, double other) {
    const Json all = config.json().value("rope_parameters", Json());
    if (all.is_null()) return other;
    if (!all.is_object()) fail("{}: \"rope_parameters\" must be an object", config.origin());
    const Json own = all.value(kind, Json());
    if (own.is_null()) return other;
    const std::string where = fmt::format("{}: \"rope_parameters\" of {}", config.origin(), kind);
    if (!own.is_object()) fail("{} must be an object, not {}", where, shown(own.dump()));
    const ModelConfig settings(own, where);
    if (const std::string type = settings.text_or("rope_type", "default"); type != "default")
      fail_with("use a checkpoint with \"rope_type\": \"default\"",
                "{}: \"rope_type\" is \"{}\", which graft does not implement", where, shown(type));
    return positive(settings, "rope_theta", other);
  }
};

// [norm ->] attention -> add -> norm -> gated feed-forward part -> add. An add and the norm behind it are one
// operation.
struct ModernBertLayer {
  engine::Linear qkv, attention_output, wide, narrow;
  engine::Norm attn_norm, mlp_norm;  // attn_norm: not of the first layer
  engine::AttentionOptions attention;
  std::string scope;  // keys the layer's dropout
};

// Declares the parameters with the deviations of the reference's _init_weights: normal values without the
// tails.
class ModernBertBuilder {
 public:
  ModernBertBuilder(engine::ParameterStore& store, const ModernBertConfig& config)
      : store_(store), c_(config) {}

  Scope scope(const std::string& name) const { return {store_, name}; }

  // What adds to the residual stream starts smaller.
  double out_std() const {
    return c_.initializer_range / std::sqrt(2.0 * static_cast<double>(c_.num_hidden_layers));
  }
  double final_std() const { return 1 / std::sqrt(static_cast<double>(c_.hidden_size)); }

  engine::Linear linear(const Scope& s, const std::string& part, int64_t out, int64_t in, bool bias,
                        double std) const {
    const engine::Linear layer = s.linear(part, out, in, bias);
    start(*layer.weight, std);
    return layer;
  }
  engine::Norm norm(const Scope& s, const std::string& part) const {
    return s.norm(part, c_.hidden_size, c_.norm_eps, c_.norm_bias);
  }
  void start(engine::Parameter& weight, double std) const {
    weight.init_std = std;
    weight.init_cutoff = c_.initializer_cutoff_factor * std;
  }

  ModernBertLayer layer(const Scope& s, int64_t i) const {
    const int64_t H = c_.hidden_size, I = c_.intermediate_size;
    ModernBertLayer layer;
    layer.scope = s.name();
    if (i > 0) layer.attn_norm = norm(s, "attn_norm");
    layer.qkv = linear(s, "attn.Wqkv", 3 * H, H, c_.attention_bias, c_.initializer_range);
    layer.attention_output = linear(s, "attn.Wo", H, H, c_.attention_bias, out_std());
    layer.mlp_norm = norm(s, "mlp_norm");
    layer.wide = linear(s, "mlp.Wi", 2 * I, H, c_.mlp_bias, c_.initializer_range);
    layer.narrow = linear(s, "mlp.Wo", H, I, c_.mlp_bias, out_std());
    layer.attention = attention_options(H, c_.num_attention_heads, c_.attention_dropout);
    if (c_.is_local[static_cast<size_t>(i)])
      layer.attention.window = static_cast<int32_t>(c_.local_attention / 2);
    return layer;
  }

 private:
  engine::ParameterStore& store_;
  const ModernBertConfig& c_;
};

class ModernBert : public Encoder {
 public:
  // `tied`: a matrix product reads the word embeddings (a masked-LM head does).
  ModernBert(engine::ParameterStore& store, const ModernBertConfig& config, bool tied) : config_(config) {
    const ModernBertBuilder builder(store, config);
    const Scope root = builder.scope("model"), e = root / "embeddings";
    embeddings_.word = e.embedding("tok_embeddings", config.vocab_size, config.hidden_size, !tied,
                                   config.pad_token_id.value_or(-1));
    builder.start(*embeddings_.word, config.initializer_range);
    embeddings_.norm = builder.norm(e, "norm");
    for (int64_t i = 0; i < config.num_hidden_layers; ++i)
      layers_.push_back(builder.layer(root / "layers" / std::to_string(i), i));
    final_norm_ = builder.norm(root, "final_norm");
  }

  Var encode(Tape& tape, const Inputs& inputs, const RowSelection& rows) const override {
    const Angles angles = angles_for(tape, inputs.max_position + 1);
    Var z = engine::embed(tape, embeddings_, inputs.input_ids, nullptr, nullptr,
                          static_cast<float>(config_.embedding_dropout), "model.embeddings", inputs.rows);
    Var x = z;
    for (size_t i = 0; i < layers_.size(); ++i) {
      if (inputs.hidden_states) inputs.hidden_states->push_back(z);
      const auto both = tape.segment([this, i, x, z, angles, inputs, rows](Tape& t) {
        return run_layer(t, i, x, z, angles, inputs, rows);
      });
      x = both[0];
      z = both[1];
    }
    if (inputs.last_layer) *inputs.last_layer = z;
    if (inputs.hidden_states) inputs.hidden_states->push_back(x);
    return x;
  }
  int64_t max_positions() const override { return config_.max_position_embeddings; }
  engine::Parameter* word_embeddings() const override { return embeddings_.word; }
  engine::Embeddings* embeddings() override { return &embeddings_; }

 private:
  struct Angles {
    engine::RotaryTable global, local;
  };

  // The normalised stream and the stream itself. Of the last layer, all behind the attention runs for the
  // selected rows only.
  Tape::Results run_layer(Tape& tape, size_t i, Var x, Var z, const Angles& angles, const Inputs& inputs,
                          const RowSelection& rows) const {
    const ModernBertLayer& layer = layers_[i];
    const bool last = i + 1 == layers_.size();
    engine::Rows out_rows = inputs.rows;
    Var context = attend(tape, x, layer, angles, inputs);
    const auto chosen = [&](engine::Linear l) {
      l.fp32 = last && rows.one_row_each;  // as in the post-norm layer: so few rows cost less in fp32
      return l;
    };
    if (last && rows.rows) {
      context = engine::gather(tape, context, rows.rows, rows.n);
      z = engine::gather(tape, z, rows.rows, rows.n);
      out_rows = engine::select_rows(tape, inputs.rows, rows.rows, rows.n);
    }
    const Var a = engine::linear(tape, context, chosen(layer.attention_output));
    const engine::Stream middle =
        engine::residual_stream(tape, a, z, layer.mlp_norm, static_cast<float>(config_.attention_dropout),
                                layer.scope + ".attn", out_rows);
    const Var both = engine::linear(tape, middle.y, chosen(layer.wide));
    const int64_t I = config_.intermediate_size;
    const Var wide =
        engine::dropout(tape, engine::gated(tape, {both, 0}, {both, I}, I, config_.hidden_activation),
                        static_cast<float>(config_.mlp_dropout), layer.scope + ".mlp", out_rows);
    const engine::Stream next =
        engine::residual_stream(tape, engine::linear(tape, wide, chosen(layer.narrow)), middle.z,
                                last ? final_norm_ : layers_[i + 1].attn_norm, 0, "", out_rows);
    return {next.y, next.z};
  }

  Angles angles_for(Tape& tape, int64_t positions) const {
    const int64_t d = config_.head_dim();
    return {engine::rotary_table(tape, config_.global_rope_theta, d, positions),
            engine::rotary_table(tape, config_.local_rope_theta, d, positions)};
  }

  // Queries and keys are the first heads of the projection.
  Var attend(Tape& tape, Var x, const ModernBertLayer& layer, const Angles& angles,
             const Inputs& inputs) const {
    const int64_t H = config_.hidden_size;
    const Var qkv = engine::rotary(tape, engine::linear(tape, x, layer.qkv), 2 * config_.num_attention_heads,
                                   layer.attention.window < 0 ? angles.global : angles.local, inputs.rows);
    return engine::attention(tape, {qkv, 0}, {qkv, H}, {qkv, 2 * H}, layer.attention,
                             layer.scope + ".attn.probs", inputs.rows, inputs.rows);
  }

  ModernBertConfig config_;
  engine::Embeddings embeddings_;
  std::vector<ModernBertLayer> layers_;
  engine::Norm final_norm_;
};

// The rows that a classifier reads: those with a label, all, the first of each sequence, or their mean.
enum class Reads : uint8_t { labels, all, first, mean };

// [mean of the rows of a sequence ->] dense -> activation -> norm -> dropout -> out.
struct ModernBertHead : Head {
  engine::Linear dense, out;
  engine::Activation activation = engine::Activation::gelu;
  engine::Norm norm;
  float dropout = 0;
  Reads reads = Reads::first;

  RowSelection rows(Tape& /*tape*/, const data::RaggedBatch& batch) const override {
    return reads == Reads::labels  ? label_rows(batch)
           : reads == Reads::first ? first_rows(batch)
                                   : all_rows(batch);
  }
  Var logits(Tape& tape, Var hidden, const engine::Rows& rows) const override {
    const bool mean = reads == Reads::mean;
    Var x = mean ? engine::mean_pool(tape, hidden, rows) : hidden;
    const engine::Rows own =
        mean ? engine::select_rows(tape, rows, rows.cu_seqlens, rows.num_sequences) : rows;
    x = engine::linear(tape, x, dense, activation);
    x = engine::residual_norm(tape, x, nullptr, norm, 0, "", {});
    x = engine::dropout(tape, x, dropout, "drop", own);
    return engine::linear(tape, x, out);
  }
};

Network make_modernbert_classifier(engine::ParameterStore& store, const ModernBertConfig& c, int64_t outputs,
                                   Reads reads) {
  const ModernBertBuilder builder(store, c);
  Network n;
  n.encoder = std::make_unique<ModernBert>(store, c, false);
  ModernBertHead head;
  const Scope s = builder.scope("head");
  head.dense = builder.linear(s, "dense", c.hidden_size, c.hidden_size, c.classifier_bias, builder.out_std());
  head.norm = builder.norm(s, "norm");
  head.out =
      builder.linear(builder.scope(""), "classifier", outputs, c.hidden_size, true, builder.final_std());
  // One row a sequence and few outputs cost next to nothing.
  head.dense.fp32 = reads == Reads::first || reads == Reads::mean;
  head.out.fp32 = true;
  head.activation = c.classifier_activation;
  head.dropout = static_cast<float>(c.classifier_dropout);
  head.reads = reads;
  n.head = std::make_unique<ModernBertHead>(std::move(head));
  return n;
}

Network make_modernbert_sequence_classification(engine::ParameterStore& store, const ModelConfig& config) {
  const ModernBertConfig c = ModernBertConfig::read(config);
  return make_modernbert_classifier(store, c, c.num_labels, c.mean_pooling ? Reads::mean : Reads::first);
}

Network make_modernbert_token_classification(engine::ParameterStore& store, const ModelConfig& config) {
  const ModernBertConfig c = ModernBertConfig::read(config);
  return make_modernbert_classifier(store, c, c.num_labels, Reads::labels);
}

Network make_modernbert_question_answering(engine::ParameterStore& store, const ModelConfig& config) {
  return make_modernbert_classifier(store, ModernBertConfig::read(config), 2, Reads::all);
}

Network make_modernbert_multiple_choice(engine::ParameterStore& store, const ModelConfig& config) {
  const ModernBertConfig c = ModernBertConfig::read(config);
  return make_modernbert_classifier(store, c, 1, c.mean_pooling ? Reads::mean : Reads::first);
}

Network make_modernbert_masked_lm(engine::ParameterStore& store, const ModelConfig& config) {
  const ModernBertConfig c = ModernBertConfig::read(config);
  const ModernBertBuilder builder(store, c);
  Network n;
  n.encoder = std::make_unique<ModernBert>(store, c, c.tie_word_embeddings);
  MaskedLmHead head;
  const Scope s = builder.scope("head"), top = builder.scope("");
  head.dense = builder.linear(s, "dense", c.hidden_size, c.hidden_size, c.classifier_bias, builder.out_std());
  head.activation = c.classifier_activation;
  head.norm = builder.norm(s, "norm");
  if (c.tie_word_embeddings) {
    head.decoder.weight = n.encoder->word_embeddings();
    if (c.decoder_bias) head.decoder.bias = top.bias("decoder.bias", c.vocab_size);
  } else {
    head.decoder =
        builder.linear(top, "decoder", c.vocab_size, c.hidden_size, c.decoder_bias, builder.out_std());
  }
  n.head = std::make_unique<MaskedLmHead>(std::move(head));
  return n;
}

Network make_modernbert_sentence_embedding(engine::ParameterStore& store, const ModelConfig& config) {
  const ModernBertConfig c = ModernBertConfig::read(config);
  auto encoder = std::make_unique<ModernBert>(store, c, false);
  return with_pooling(std::move(encoder), store, config, c.hidden_size);
}

// Release 4 does not read the keys of release 5: what it has for them stands beside them.
void add_keys_of_release_4(Json& config) {
  if (!config.contains("rope_parameters") && !config.contains("layer_types")) return;
  const ModernBertConfig c = ModernBertConfig::read({config, "config.json"});
  config["global_rope_theta"] = c.global_rope_theta;
  config["local_rope_theta"] = c.local_rope_theta;
  for (int64_t every = 1; every <= c.num_hidden_layers; ++every) {
    bool fits = true;
    for (int64_t i = 0; i < c.num_hidden_layers; ++i)
      fits = fits && c.is_local[static_cast<size_t>(i)] == (i % every != 0);
    if (!fits) continue;
    config["global_attn_every_n_layers"] = every;
    return;
  }
}

}  // namespace

const Family& modernbert_family() {
  static const Family family = {
      "modernbert",
      "ModernBert",
      "model",
      "model.embeddings",
      "model.layers",
      {"hidden_size", "intermediate_size", "num_hidden_layers"},
      {{&kSequenceClassification, make_modernbert_sequence_classification},
       {&kTokenClassification, make_modernbert_token_classification},
       {&kMaskedLm, make_modernbert_masked_lm},
       {&kQuestionAnswering, make_modernbert_question_answering},
       {&kMultipleChoice, make_modernbert_multiple_choice},
       {&kSentenceEmbedding, make_modernbert_sentence_embedding}},
      {{"hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "hidden_activation",
        "classifier_activation",
        "norm_eps",
        "norm_bias",
        "attention_bias",
        "mlp_bias",
        "decoder_bias",
        "classifier_bias",
        "attention_dropout",
        "embedding_dropout",
        "mlp_dropout",
        "classifier_dropout",
        "classifier_pooling",
        "initializer_cutoff_factor",
        "global_attn_every_n_layers",
        "global_rope_theta",
        "local_attention",
        "local_rope_theta",
        "layer_types",
        "rope_parameters"},
       {{"rope_scaling", "null", "rotary positions of another kind"}},
       {},
       {"cls_token_id", "sparse_prediction", "sparse_pred_ignore_index", "reference_compile",
        "repad_logits_with_grad", "deterministic_flash_attn", "layer_norm_eps", "position_embedding_type"}},
      {"decoder.weight", nullptr, nullptr},
      {},
      {},
      nullptr,
      {},
      nullptr,
      nullptr,
      add_keys_of_release_4};
  return family;
}

}  // namespace graft::models
