#include "models/t5.h"

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "engine/basic_ops.h"
#include "models/decoder.h"
#include "models/heads.h"
#include "models/pooling.h"
#include "models/registry.h"
#include "models/transformer.h"

namespace graft::models {

using engine::Tape;
using engine::Var;

namespace {

// config.json (T5Config of transformers 5.24).
struct T5Config {
  int64_t vocab_size = 0, d_model = 0, d_kv = 0, d_ff = 0, num_layers = 0, num_decoder_layers = 0,
          num_heads = 0;
  int64_t relative_attention_num_buckets = 32, relative_attention_max_distance = 128;
  engine::Activation activation = engine::Activation::relu;
  bool gated = false;
  double dropout_rate = 0.1, classifier_dropout = 0, layer_norm_epsilon = 1e-6, initializer_factor = 1;
  bool tie_word_embeddings = true, scale_decoder_outputs = true;
  int32_t decoder_start_token_id = 0, eos_token_id = 1;
  int64_t num_labels = 0;

  // Throws Error naming file and key.
  static T5Config read(const ModelConfig& config, const char* feed_forward) {
    T5Config c;
    c.vocab_size = config.integer("vocab_size");
    c.d_model = config.integer("d_model");
    c.d_kv = config.integer("d_kv");
    c.d_ff = config.integer("d_ff");
    c.num_layers = config.layers("num_layers");
    c.num_decoder_layers =
        config.is_missing("num_decoder_layers") ? c.num_layers : config.layers("num_decoder_layers");
    c.num_heads = config.integer("num_heads");
    c.relative_attention_num_buckets = config.size_or("relative_attention_num_buckets", 32);
    c.relative_attention_max_distance = config.size_or("relative_attention_max_distance", 128);
    c.read_feed_forward(config, feed_forward);
    c.dropout_rate = config.probability_or("dropout_rate", 0.1);
    c.classifier_dropout = config.probability_or("classifier_dropout", 0);
    c.layer_norm_epsilon = config.non_negative_or("layer_norm_epsilon", 1e-6);
    c.initializer_factor = config.non_negative_or("initializer_factor", 1);
    c.tie_word_embeddings = config.flag_or("tie_word_embeddings", true);
    c.scale_decoder_outputs = config.flag_or("scale_decoder_outputs", true);
    c.decoder_start_token_id = id(config, "decoder_start_token_id", config.integer_or("pad_token_id", 0));
    c.eos_token_id = id(config, "eos_token_id", 1);
    c.num_labels = static_cast<int64_t>(config.label_names().size());
    return c;
  }

 private:
  // "relu", "gated-gelu": the activation, and whether a second product gates it. The two keys that the
  // reference derives from it win where a file has them.
  void read_feed_forward(const ModelConfig& config, const char* usual) {
    const std::string given = config.text_or("feed_forward_proj", usual);
    const size_t dash = given.find('-');
    if (dash != std::string::npos &&
        (given.substr(0, dash) != "gated" || given.find('-', dash + 1) != std::string::npos))
      fail_with("write \"ACTIVATION\" or \"gated-ACTIVATION\": \"relu\", \"gated-gelu\"",
                "{}: \"feed_forward_proj\" is \"{}\"", config.origin(), given);
    const std::string own = dash == std::string::npos ? given : given.substr(dash + 1);
    gated = config.flag_or("is_gated_act", dash != std::string::npos);
    activation = parse_activation(config.text_or("dense_act_fn", given == "gated-gelu" ? "gelu_new" : own),
                                  config.origin());
  }

  static int32_t id(const ModelConfig& config, const char* key, int64_t other) {
    const int64_t n = config.integer_or(key, other);
    if (n < 0 || n >= config.integer("vocab_size"))
      fail("{}: \"{}\" is {}, outside the vocabulary of {}", config.origin(), key, n,
           config.integer("vocab_size"));
    return static_cast<int32_t>(n);
  }
};

// norm -> self-attention -> add [-> norm -> cross attention -> add] -> norm -> feed-forward part -> add. An
// add and the norm behind it are one operation.
struct T5Layer {
  engine::Linear qkv, self_output;
  engine::Linear query, key_value, cross_output;  // of a decoder
  engine::Linear wide, narrow;                    // wide: both halves of a gated one
  engine::Norm self_norm, cross_norm, wide_norm;
  std::string scope;  // keys the layer's dropout
};

// Declares the parameters under their names, with the deviations of the reference's _init_weights.
class T5Builder {
 public:
  T5Builder(engine::ParameterStore& store, const T5Config& config, bool decoder)
      : store_(store), c_(config), decoder_(decoder) {}

  T5Layer layer(const Scope& s, engine::Parameter** bias) const {
    const int64_t inner = c_.num_heads * c_.d_kv;
    T5Layer layer;
    layer.scope = s.name();
    const Scope self = s / "layer.0";
    layer.qkv = attention(self / "SelfAttention", {"q", "k", "v"});
    layer.self_output = matrix(self, "SelfAttention.o", c_.d_model, inner);
    if (bias) {
      *bias = self.embedding("SelfAttention.relative_attention_bias", c_.relative_attention_num_buckets,
                             c_.num_heads, false);
      (*bias)->no_decay = true;  // its name holds "bias"
      (*bias)->init_std = std_of(c_.d_model);
    }
    layer.self_norm = norm(self, "layer_norm");
    if (decoder_) {
      const Scope cross = s / "layer.1";
      layer.query = attention(cross / "EncDecAttention", {"q"});
      layer.key_value = attention(cross / "EncDecAttention", {"k", "v"});
      layer.cross_output = matrix(cross, "EncDecAttention.o", c_.d_model, inner);
      layer.cross_norm = norm(cross, "layer_norm");
    }
    const Scope last = s / (decoder_ ? "layer.2" : "layer.1");
    const std::string dense = "DenseReluDense.";
    if (c_.gated) {
      layer.wide = last.linear_group({dense + "wi_0", dense + "wi_1"}, c_.d_ff, c_.d_model, false);
      start(layer.wide, std_of(c_.d_model));
    } else {
      layer.wide = matrix(last, dense + "wi", c_.d_ff, c_.d_model);
    }
    layer.narrow = matrix(last, dense + "wo", c_.d_model, c_.d_ff);
    layer.wide_norm = norm(last, "layer_norm");
    return layer;
  }

  engine::Norm norm(const Scope& s, const std::string& part) const {
    engine::Norm norm = s.norm(part, c_.d_model, c_.layer_norm_epsilon, false);
    norm.kind = engine::NormKind::rms_norm;
    norm.weight->init_factor = c_.initializer_factor;
    return norm;
  }

 private:
  double std_of(int64_t width) const { return c_.initializer_factor / std::sqrt(static_cast<double>(width)); }
  void start(const engine::Linear& group, double std) const {
    for (int i = 0; i < group.count; ++i) part_of(store_, group, i, 1).weight->init_std = std;
  }
  engine::Linear matrix(const Scope& s, const std::string& part, int64_t out, int64_t in) const {
    engine::Linear l = s.linear(part, out, in, false);
    l.weight->init_std = std_of(in);
    return l;
  }
  // The scores are not scaled, so the queries start smaller.
  engine::Linear attention(const Scope& s, const std::vector<std::string>& parts) const {
    engine::Linear l = s.linear_group(parts, c_.num_heads * c_.d_kv, c_.d_model, false);
    start(l, std_of(c_.d_model));
    if (parts.front() == "q") l.weight->init_std = std_of(c_.d_model * c_.d_kv);
    return l;
  }

  engine::ParameterStore& store_;
  const T5Config& c_;
  bool decoder_;
};

// What a stack reads and where its keys are.
struct StackInputs {
  Inputs own;
  RowSelection rows;     // of the last layer
  Var source = nullptr;  // of a decoder: the encoder's hidden states
  engine::Rows source_rows{};
  const KeyValueCache* cache = nullptr;  // of a decoder that generates
  std::vector<Var>* hidden_states = nullptr;
  // Scores are not scaled, so rounded queries and keys move the softmax. A classifier reads one row of them
  // all, and in bf16 its gradients leave the tolerance (the reference's do), unless these products are fp32.
  bool fp32_queries = false;
};

// The encoder or the decoder.
class T5Stack {
 public:
  T5Stack(engine::ParameterStore& store, const Scope& scope, const T5Config& config, bool decoder)
      : config_(config), decoder_(decoder), scope_(scope.name()) {
    const T5Builder builder(store, config, decoder);
    const int64_t n = decoder ? config.num_decoder_layers : config.num_layers;
    for (int64_t i = 0; i < n; ++i)
      layers_.push_back(builder.layer(scope / "block" / std::to_string(i), i == 0 ? &bias_ : nullptr));
    final_norm_ = builder.norm(scope, "final_layer_norm");
    attention_.num_heads = config.num_heads;
    attention_.head_dim = config.d_kv;
    attention_.scale = 1;
    attention_.dropout = static_cast<float>(config.dropout_rate);
  }

  size_t num_layers() const { return layers_.size(); }

  Var run(Tape& tape, const engine::Embeddings& embeddings, const StackInputs& in) const {
    const auto dropout = static_cast<float>(config_.dropout_rate);
    engine::AttentionOptions self = attention_;
    self.causal = decoder_;
    self.bias = engine::relative_bias(tape, bias_, !decoder_, config_.relative_attention_max_distance,
                                      in.cache ? in.cache->max_length : in.own.max_position);
    Var z = engine::embed(tape, embeddings, in.own.input_ids, nullptr, nullptr, dropout, scope_ + ".dropout",
                          in.own.rows);
    Var x = engine::residual_norm(tape, z, nullptr, layers_.front().self_norm, 0, "", {});
    for (size_t i = 0; i < layers_.size(); ++i) {
      if (in.hidden_states) in.hidden_states->push_back(z);
      const auto both =
          tape.segment([this, i, x, z, self, in](Tape& t) { return run_layer(t, i, x, z, self, in); });
      x = both[0];
      z = both[1];
    }
    engine::Rows out_rows = in.own.rows;
    if (in.rows.rows) out_rows = engine::select_rows(tape, in.own.rows, in.rows.rows, in.rows.n);
    x = engine::dropout(tape, x, dropout, scope_ + ".final_layer_norm", out_rows);
    if (in.hidden_states) in.hidden_states->push_back(x);
    return x;
  }

  // The keys and values of layer i for cross attention.
  Var key_value(Tape& tape, Var source, size_t i) const {
    return engine::linear(tape, source, layers_[i].key_value);
  }

 private:
  // The normalised stream and the stream itself; of the last layer, all behind the self-attention runs for
  // the selected rows only, and there is no stream.
  Tape::Results run_layer(Tape& tape, size_t i, Var x, Var z, const engine::AttentionOptions& self,
                          const StackInputs& in) const {
    const auto dropout = static_cast<float>(config_.dropout_rate);
    const T5Layer& layer = layers_[i];
    const bool last = i + 1 == layers_.size();
    engine::Rows out_rows = in.own.rows;
    engine::Linear qkv = layer.qkv;
    qkv.fp32 = in.fp32_queries;
    Var context = attend(tape, engine::linear(tape, x, qkv), i, self, in);
    const auto chosen = [&](engine::Linear l) {
      l.fp32 = last && in.rows.one_row_each;  // as in the post-norm layer: so few rows cost less in fp32
      return l;
    };
    if (last && in.rows.rows) {
      context = engine::gather(tape, context, in.rows.rows, in.rows.n);
      z = engine::gather(tape, z, in.rows.rows, in.rows.n);
      out_rows = engine::select_rows(tape, in.own.rows, in.rows.rows, in.rows.n);
    }
    engine::Stream s = engine::residual_stream(tape, engine::linear(tape, context, chosen(layer.self_output)),
                                               z, decoder_ ? layer.cross_norm : layer.wide_norm, dropout,
                                               layer.scope + ".layer.0", out_rows);
    if (decoder_) {
      const Var query = engine::linear(tape, s.y, chosen(layer.query));
      context = attend_source(tape, query, i, out_rows, in);
      s = engine::residual_stream(tape, engine::linear(tape, context, chosen(layer.cross_output)), s.z,
                                  layer.wide_norm, dropout, layer.scope + ".layer.1", out_rows);
    }
    const std::string scope = layer.scope + (decoder_ ? ".layer.2" : ".layer.1");
    const Var wide = engine::dropout(tape, widen(tape, s.y, chosen(layer.wide)), dropout,
                                     scope + ".DenseReluDense", out_rows);
    const Var narrow = engine::linear(tape, wide, chosen(layer.narrow));
    if (last) return {engine::residual_norm(tape, narrow, s.z, final_norm_, dropout, scope, out_rows)};
    s = engine::residual_stream(tape, narrow, s.z, layers_[i + 1].self_norm, dropout, scope, out_rows);
    return {s.y, s.z};
  }

  int64_t inner() const { return config_.num_heads * config_.d_kv; }

  Var attend(Tape& tape, Var qkv, size_t i, const engine::AttentionOptions& options,
             const StackInputs& in) const {
    const KeyValueCache* cache = in.cache;
    if (cache) {
      engine::put_rows(tape, {qkv, inner()}, cache->rows, cache->keys[i]);
      engine::put_rows(tape, {qkv, 2 * inner()}, cache->rows, cache->values[i]);
      return engine::attention_cached(tape, {qkv, 0},
                                      {cache->keys[i], cache->values[i], cache->begin, cache->length},
                                      options, in.own.rows);
    }
    return engine::attention(tape, {qkv, 0}, {qkv, inner()}, {qkv, 2 * inner()}, options,
                             layers_[i].scope + ".layer.0.SelfAttention", in.own.rows, in.own.rows);
  }

  Var attend_source(Tape& tape, Var query, size_t i, const engine::Rows& rows, const StackInputs& in) const {
    if (const KeyValueCache* cache = in.cache)
      return engine::attention_cached(
          tape, {query, 0},
          {cache->source_keys[i], cache->source_values[i], cache->source_begin, cache->source_length},
          attention_, rows);
    const Var kv = key_value(tape, in.source, i);
    return engine::attention(tape, {query, 0}, {kv, 0}, {kv, inner()}, attention_,
                             layers_[i].scope + ".layer.1.EncDecAttention", rows, in.source_rows);
  }

  Var widen(Tape& tape, Var x, const engine::Linear& wide) const {
    if (!config_.gated) return engine::linear(tape, x, wide, config_.activation);
    const Var both = engine::linear(tape, x, wide);
    return engine::gated(tape, {both, 0}, {both, config_.d_ff}, config_.d_ff, config_.activation);
  }

  T5Config config_;
  bool decoder_;
  std::string scope_;
  std::vector<T5Layer> layers_;
  engine::Norm final_norm_;
  engine::Parameter* bias_ = nullptr;
  engine::AttentionOptions attention_;
};

class T5 : public Encoder, public CausalDecoder {
 public:
  // `output_scale` multiplies the decoder's hidden states.
  T5(engine::ParameterStore& store, const Scope& root, const T5Config& config, float output_scale)
      : config_(config),
        output_scale_(output_scale),
        shared_(root.embedding("shared", config.vocab_size, config.d_model, false)),
        encoder_(store, root / "encoder", config, false),
        decoder_(store, root / "decoder", config, true) {
    shared_->init_std = config.initializer_factor;
    embeddings_.word = shared_;
  }

  Var encode(Tape& tape, const Inputs& inputs, const RowSelection& rows) const override {
    const Var source = encoder_.run(
        tape, embeddings_,
        {inputs, every_row(inputs), nullptr, {}, nullptr, inputs.encoder_hidden_states, rows.one_row_each});
    const Inputs own = inputs.decoder ? *inputs.decoder : shifted(tape, inputs);
    const Var x =
        decoder_.run(tape, embeddings_,
                     {own, rows, source, inputs.rows, nullptr, inputs.hidden_states, rows.one_row_each});
    return scaled(tape, x);
  }
  int64_t max_positions() const override { return 0; }
  engine::Parameter* word_embeddings() const override { return shared_; }

  const CausalDecoder* decoder() const override { return this; }
  int64_t num_layers() const override { return config_.num_decoder_layers; }
  int64_t key_width() const override { return config_.num_heads * config_.d_kv; }
  std::optional<int32_t> decoder_start_token_id() const override { return config_.decoder_start_token_id; }

  Var read_source(Tape& tape, const Inputs& inputs, const KeyValueCache& cache) const override {
    const Var source = encoder_.run(tape, embeddings_, {inputs, every_row(inputs)});
    auto* rows = tape.push_array<int64_t>(inputs.rows.num_rows);
    for (int64_t r = 0; r < inputs.rows.num_rows; ++r) rows[r] = r;
    for (size_t i = 0; i < decoder_.num_layers(); ++i) {
      const Var kv = decoder_.key_value(tape, source, i);
      engine::put_rows(tape, {kv, 0}, rows, cache.source_keys[i]);
      engine::put_rows(tape, {kv, key_width()}, rows, cache.source_values[i]);
    }
    return source;
  }
  Var decode(Tape& tape, const Inputs& inputs, const KeyValueCache& cache) const override {
    auto* last = tape.push_array<int32_t>(inputs.rows.num_sequences);
    for (int64_t b = 0; b < inputs.rows.num_sequences; ++b) last[b] = inputs.rows.cu_seqlens[b + 1] - 1;
    const Var x = decoder_.run(tape, embeddings_,
                               {inputs, {last, inputs.rows.num_sequences, false}, nullptr, {}, &cache});
    return scaled(tape, x);
  }

 private:
  static RowSelection every_row(const Inputs& inputs) { return {nullptr, inputs.rows.num_rows, false}; }
  Var scaled(Tape& tape, Var x) const {
    return output_scale_ == 1 ? x : engine::scale(tape, x, output_scale_);
  }

  // The decoder's input where only a source is given: the source itself, one place to the right.
  Inputs shifted(Tape& tape, const Inputs& inputs) const {
    Inputs out = inputs;
    const int64_t n = inputs.rows.num_rows;
    auto* ids = tape.push_array<int32_t>(n);
    for (int64_t r = 0; r < n; ++r)
      ids[r] = inputs.rows.position[r] == 0 ? config_.decoder_start_token_id : inputs.input_ids[r - 1];
    out.input_ids = ids;
    return out;
  }

  T5Config config_;
  float output_scale_;
  engine::Parameter* shared_;
  engine::Embeddings embeddings_;
  T5Stack encoder_, decoder_;
};

// The encoder alone (the reference's T5EncoderModel).
class T5Encoder : public Encoder {
 public:
  T5Encoder(engine::ParameterStore& store, const Scope& root, const T5Config& config)
      : shared_(root.embedding("shared", config.vocab_size, config.d_model, false)),
        encoder_(store, root / "encoder", config, false) {
    shared_->init_std = config.initializer_factor;
    embeddings_.word = shared_;
  }

  Var encode(Tape& tape, const Inputs& inputs, const RowSelection& rows) const override {
    return encoder_.run(tape, embeddings_, {inputs, rows, nullptr, {}, nullptr, inputs.hidden_states});
  }
  int64_t max_positions() const override { return 0; }
  engine::Parameter* word_embeddings() const override { return shared_; }

 private:
  engine::Parameter* shared_;
  engine::Embeddings embeddings_;
  T5Stack encoder_;
};

// On the last end token of each sequence.
struct EndTokenHead : ClassificationHead {
  int32_t eos_token_id = 1;

  RowSelection rows(Tape& tape, const data::RaggedBatch& batch) const override {
    auto* rows = tape.push_array<int32_t>(batch.size());
    for (int32_t b = 0; b < batch.size(); ++b) {
      const int32_t begin = batch.cu_seqlens[static_cast<size_t>(b)];
      int32_t row = batch.cu_seqlens[static_cast<size_t>(b) + 1] - 1;
      while (row >= begin && batch.input_ids[static_cast<size_t>(row)] != eos_token_id) --row;
      if (row < begin && tape.planning()) row = begin;  // a plan has no texts
      if (row < begin)
        fail_with(
            "use the tokenizer of the checkpoint, which ends each text with that token",
            "sequence {} of the batch (example {}) has no end token (eos_token_id {}), which the head reads",
            b, batch.example_of(b), eos_token_id);
      rows[b] = row;
    }
    return {rows, batch.size(), true};
  }
};

Network make_sequence_classification(engine::ParameterStore& store, const T5Config& c) {
  Network n;
  n.encoder = std::make_unique<T5>(store, Scope(store, "transformer"), c, 1.0f);
  const Scope s(store, "classification_head");
  EndTokenHead head;
  head.dense = s.linear("dense", c.d_model, c.d_model);
  head.activation = engine::Activation::tanh;
  head.out = s.linear("out_proj", c.num_labels, c.d_model);
  head.dense.weight->init_std = head.out.weight->init_std =
      c.initializer_factor / std::sqrt(static_cast<double>(c.d_model));
  head.dropout_before = head.dropout_after = static_cast<float>(c.classifier_dropout);
  head.eos_token_id = c.eos_token_id;
  n.head = std::make_unique<EndTokenHead>(std::move(head));
  return n;
}

Network make_seq2seq_lm(engine::ParameterStore& store, const T5Config& c) {
  const auto output_scale = static_cast<float>(1 / std::sqrt(static_cast<double>(c.d_model)));
  Network n;
  n.encoder = std::make_unique<T5>(store, Scope(store, ""), c, c.scale_decoder_outputs ? output_scale : 1.0f);
  CausalLmHead head;
  if (c.tie_word_embeddings) {
    head.decoder.weight = n.encoder->word_embeddings();
  } else {
    head.decoder = Scope(store, "").linear("lm_head", c.vocab_size, c.d_model, false);
    head.decoder.weight->init_std = c.initializer_factor;
  }
  n.head = std::make_unique<CausalLmHead>(head);
  return n;
}

// No "transformer." in its names, and the decoder's output is not scaled.
Network make_question_answering(engine::ParameterStore& store, const T5Config& c) {
  Network n = with_span_head(std::make_unique<T5>(store, Scope(store, ""), c, 1.0f), store, c.d_model);
  static_cast<SpanHead&>(*n.head).qa_outputs.weight->init_std =
      c.initializer_factor / std::sqrt(static_cast<double>(c.d_model));
  return n;
}

Network make_token_classification(engine::ParameterStore& store, const T5Config& c) {
  Network n = with_token_head(std::make_unique<T5Encoder>(store, Scope(store, "transformer"), c), store,
                              c.d_model, c.num_labels, c.classifier_dropout);
  store.find("classifier.weight")->init_std = c.initializer_factor;
  return n;
}

Network make_t5_sequence_classification(engine::ParameterStore& store, const ModelConfig& config) {
  return make_sequence_classification(store, T5Config::read(config, "relu"));
}
Network make_t5_seq2seq_lm(engine::ParameterStore& store, const ModelConfig& config) {
  return make_seq2seq_lm(store, T5Config::read(config, "relu"));
}
Network make_t5_question_answering(engine::ParameterStore& store, const ModelConfig& config) {
  return make_question_answering(store, T5Config::read(config, "relu"));
}
Network make_mt5_question_answering(engine::ParameterStore& store, const ModelConfig& config) {
  return make_question_answering(store, T5Config::read(config, "gated-gelu"));
}
Network make_t5_token_classification(engine::ParameterStore& store, const ModelConfig& config) {
  return make_token_classification(store, T5Config::read(config, "relu"));
}
Network make_t5_sentence_embedding(engine::ParameterStore& store, const ModelConfig& config) {
  const T5Config c = T5Config::read(config, "relu");
  return with_pooling(std::make_unique<T5Encoder>(store, Scope(store, ""), c), store, config, c.d_model);
}
Network make_mt5_sentence_embedding(engine::ParameterStore& store, const ModelConfig& config) {
  const T5Config c = T5Config::read(config, "gated-gelu");
  return with_pooling(std::make_unique<T5Encoder>(store, Scope(store, ""), c), store, config, c.d_model);
}
Network make_mt5_sequence_classification(engine::ParameterStore& store, const ModelConfig& config) {
  return make_sequence_classification(store, T5Config::read(config, "gated-gelu"));
}
Network make_mt5_token_classification(engine::ParameterStore& store, const ModelConfig& config) {
  return make_token_classification(store, T5Config::read(config, "gated-gelu"));
}
Network make_mt5_seq2seq_lm(engine::ParameterStore& store, const ModelConfig& config) {
  return make_seq2seq_lm(store, T5Config::read(config, "gated-gelu"));
}

// The classes of the encoder alone write "is_encoder_decoder": false; their weights are those of an
// encoder-decoder's encoder.
void settle_encoder_alone(ModelConfig& config) {
  const Json names = config.json().value("architectures", Json());
  if (!names.is_array() || names.size() != 1 || !names[0].is_string()) return;
  const std::string name = names[0].get<std::string>();
  if (name.ends_with("EncoderModel") || name.ends_with(kTokenClassification.class_suffix))
    config.json().erase("is_encoder_decoder");
}

// T5 v1.1's output is not scaled. Release 4.57 says so by "tie_word_embeddings": false; release 5 by a key of
// its own, writes true there, and ties the weights unless the file holds two different ones. Here one key
// says that weights are tied, the other that the output is scaled.
void settle_tied(ModelConfig& config, const hub::StateDict* weights) {
  settle_encoder_alone(config);
  if (config.flag_or("tie_word_embeddings", true) && config.flag_or("scale_decoder_outputs", true)) return;
  config.json()["scale_decoder_outputs"] = false;
  const hub::TensorView* decoder = weights ? weights->find("lm_head.weight") : nullptr;
  const hub::TensorView* shared = decoder ? weights->find("shared.weight") : nullptr;
  const bool same = shared && shared->num_bytes == decoder->num_bytes &&
                    std::memcmp(shared->data, decoder->data, shared->num_bytes) == 0;
  config.json()["tie_word_embeddings"] = weights && (!decoder || same);
}

// mT5's output is never scaled in release 5. (4.57 scales that of a tied mT5, of which there is none: the
// published files are untied.)
void settle_mt5(ModelConfig& config, const hub::StateDict* weights) {
  config.json()["scale_decoder_outputs"] = false;
  settle_tied(config, weights);
}

// Release 4.57 would scale the output of a tied model.
bool copies_decoder(const ModelConfig& config) { return !config.flag_or("scale_decoder_outputs", true); }

// Both releases read an output that is not scaled from one key.
void saved_form(Json& config) {
  if (config.value("scale_decoder_outputs", true)) return;
  config["tie_word_embeddings"] = false;
  config.erase("scale_decoder_outputs");
}

Family t5_like(const char* model_type, const char* class_prefix, std::vector<FamilyHead> heads,
               void (*settle)(ModelConfig&, const hub::StateDict*)) {
  return {model_type,
          class_prefix,
          "transformer",
          "shared",
          "encoder.block",
          {"d_model", "d_ff", "num_layers"},
          std::move(heads),
          {{"d_model", "d_kv", "d_ff", "num_layers", "num_decoder_layers", "num_heads",
            "relative_attention_num_buckets", "relative_attention_max_distance", "dropout_rate",
            "layer_norm_epsilon", "initializer_factor", "feed_forward_proj", "dense_act_fn", "is_gated_act",
            "classifier_dropout", "decoder_start_token_id", "eos_token_id", "scale_decoder_outputs"},
           {{"is_encoder_decoder", "true", "an encoder or a decoder alone"}},
           {{"hidden_size", "d_model"},
            {"num_attention_heads", "num_heads"},
            {"num_hidden_layers", "num_layers"},
            {"head_dim", "d_kv"}},
           {"n_positions"}},
          {"lm_head.weight", nullptr, nullptr},
          {"embed_tokens.weight", "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"},
          {"shared", "encoder", "decoder"},
          "decoder.block",
          {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight",
           "transformer.encoder.embed_tokens.weight"},
          settle,
          copies_decoder,
          saved_form};
}

}  // namespace

const Family& t5_family() {
  static const Family family = t5_like("t5", "T5",
                                       {{&kSequenceClassification, make_t5_sequence_classification},
                                        {&kTokenClassification, make_t5_token_classification},
                                        {&kSeq2SeqLm, make_t5_seq2seq_lm},
                                        {&kQuestionAnswering, make_t5_question_answering},
                                        {&kSentenceEmbedding, make_t5_sentence_embedding, "EncoderModel"}},
                                       settle_tied);
  return family;
}

const Family& mt5_family() {
  static const Family family = t5_like("mt5", "MT5",
                                       {{&kSequenceClassification, make_mt5_sequence_classification},
                                        {&kTokenClassification, make_mt5_token_classification},
                                        {&kSeq2SeqLm, make_mt5_seq2seq_lm},
                                        {&kQuestionAnswering, make_mt5_question_answering},
                                        {&kSentenceEmbedding, make_mt5_sentence_embedding, "EncoderModel"}},
                                       settle_mt5);
  return family;
}

}  // namespace graft::models
