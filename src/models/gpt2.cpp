#include "models/gpt2.h"

#include <atomic>
#include <cmath>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "models/decoder.h"
#include "models/heads.h"
#include "models/registry.h"
#include "models/transformer.h"

namespace graft::models {

using engine::Tape;
using engine::Var;

namespace {

// config.json (GPT2Config of transformers 5.24).
struct Gpt2Config {
  int64_t vocab_size = 0, n_positions = 0, n_embd = 0, n_layer = 0, n_head = 0, n_inner = 0;
  engine::Activation activation = engine::Activation::gelu_new;
  double resid_pdrop = 0.1, embd_pdrop = 0.1, attn_pdrop = 0.1, classifier_dropout = 0.1;
  double layer_norm_epsilon = 1e-5, initializer_range = 0.02;
  bool scale_attn_weights = true, scale_attn_by_inverse_layer_idx = false;
  std::optional<int64_t> pad_token_id;  // none: null in the file or absent
  bool tie_word_embeddings = true;
  int64_t num_labels = 0;

  // Throws Error naming file and key.
  static Gpt2Config read(const ModelConfig& config) {
    Gpt2Config c;
    c.vocab_size = config.integer("vocab_size");
    c.n_positions = config.integer("n_positions");
    c.n_embd = config.integer("n_embd");
    c.n_layer = config.layers("n_layer");
    c.n_head = config.integer("n_head");
    c.n_inner = config.size_or("n_inner", 4 * c.n_embd);
    c.activation = parse_activation(config.text_or("activation_function", "gelu_new"), config.origin());
    c.resid_pdrop = config.probability_or("resid_pdrop", 0.1);
    c.embd_pdrop = config.probability_or("embd_pdrop", 0.1);
    c.attn_pdrop = config.probability_or("attn_pdrop", 0.1);
    // The reference's own order of the keys, of which its configuration class has none.
    c.classifier_dropout =
        config.probability_or("classifier_dropout", config.probability_or("hidden_dropout", 0.1));
    c.layer_norm_epsilon = config.non_negative_or("layer_norm_epsilon", 1e-5);
    c.initializer_range = config.number_or("initializer_range", 0.02);
    c.scale_attn_weights = config.flag_or("scale_attn_weights", true);
    c.scale_attn_by_inverse_layer_idx = config.flag_or("scale_attn_by_inverse_layer_idx", false);
    // Both forms of the attention compute its scores and softmax in fp32 here.
    config.flag_or("reorder_and_upcast_attn", false);
    if (const int64_t pad = config.integer_or("pad_token_id", -1); pad >= 0) c.pad_token_id = pad;
    c.tie_word_embeddings = config.flag_or("tie_word_embeddings", true);
    c.num_labels = static_cast<int64_t>(config.label_names().size());
    check_heads(config, c.n_embd, c.n_head);
    return c;
  }
};

// norm -> attention -> add -> norm -> feed-forward part -> add. The second add and the norm behind it, the
// next layer's or ln_f, are one operation.
struct Gpt2Layer {
  engine::Linear qkv, attention_output, wide, narrow;
  engine::Norm ln_1, ln_2;
  engine::AttentionOptions attention;
  std::string scope;  // keys the layer's dropout
};

// A matrix that the checkpoint holds as [in, out] (the reference's Conv1D).
engine::Linear conv1d(const Scope& scope, const std::string& part, int64_t out, int64_t in, double std = 0) {
  const engine::Linear layer = scope.linear(part, out, in);
  layer.weight->stored_transposed = true;
  layer.weight->init_std = std;
  return layer;
}

class Gpt2 : public Encoder, public CausalDecoder {
 public:
  // `tied`: a matrix product reads the word embeddings (a causal-LM head does).
  Gpt2(engine::ParameterStore& store, const Gpt2Config& config, bool tied) : config_(config) {
    const int64_t H = config.n_embd;
    const Scope root(store, "transformer");
    embeddings_.word = root.embedding("wte", config.vocab_size, H, !tied);
    embeddings_.position = root.embedding("wpe", config.n_positions, H, false);
    // The reference's _init_weights: what adds to the residual stream starts smaller, by the number of adds.
    const double small = config.initializer_range / std::sqrt(2.0 * static_cast<double>(config.n_layer));
    for (int64_t i = 0; i < config.n_layer; ++i) {
      const Scope s = root / "h" / std::to_string(i);
      Gpt2Layer layer;
      layer.scope = s.name();
      layer.ln_1 = s.norm("ln_1", H, config.layer_norm_epsilon);
      layer.qkv = conv1d(s, "attn.c_attn", 3 * H, H);
      layer.attention_output = conv1d(s, "attn.c_proj", H, H, small);
      layer.ln_2 = s.norm("ln_2", H, config.layer_norm_epsilon);
      layer.wide = conv1d(s, "mlp.c_fc", config.n_inner, H);
      layer.narrow = conv1d(s, "mlp.c_proj", H, config.n_inner, small);
      layer.attention = attention_options(H, config.n_head, config.attn_pdrop);
      layer.attention.causal = true;
      if (!config.scale_attn_weights) layer.attention.scale = 1;
      if (config.scale_attn_by_inverse_layer_idx) layer.attention.scale /= static_cast<float>(i + 1);
      layers_.push_back(layer);
    }
    ln_f_ = root.norm("ln_f", H, config.layer_norm_epsilon);
  }

  Var encode(Tape& tape, const Inputs& inputs, const RowSelection& rows) const override {
    return run(tape, inputs, rows, nullptr);
  }
  Var decode(Tape& tape, const Inputs& inputs, const KeyValueCache& cache) const override {
    auto* last = tape.push_array<int32_t>(inputs.rows.num_sequences);
    for (int64_t b = 0; b < inputs.rows.num_sequences; ++b) last[b] = inputs.rows.cu_seqlens[b + 1] - 1;
    return run(tape, inputs, {last, inputs.rows.num_sequences, false}, &cache);
  }
  int64_t max_positions() const override { return config_.n_positions; }
  engine::Parameter* word_embeddings() const override { return embeddings_.word; }
  engine::Embeddings* embeddings() override { return &embeddings_; }
  engine::Parameter** prefix() override { return &prefix_; }
  const CausalDecoder* decoder() const override { return this; }
  int64_t num_layers() const override { return config_.n_layer; }
  int64_t key_width() const override { return config_.n_embd; }

 private:
  // The ids of a pass that begins with virtual tokens: those of the text, and for each row the number of its
  // virtual token or -1.
  struct SplitIds {
    const int32_t *text = nullptr, *virtual_token = nullptr;
  };
  // Keys and values of virtual tokens are parameters, so that their embeddings do not matter: token 0 stands
  // in.
  SplitIds split(Tape& tape, const Inputs& inputs) const {
    const int64_t T = inputs.rows.num_rows, words = embeddings_.word->rows();
    if (!prefix_ || T == 0 || inputs.input_ids[0] < words) return {inputs.input_ids};
    auto *text = tape.push_array<int32_t>(T), *number = tape.push_array<int32_t>(T);
    for (int64_t r = 0; r < T; ++r) {
      const bool is_virtual = inputs.input_ids[r] >= words;
      text[r] = is_virtual ? 0 : inputs.input_ids[r];
      number[r] = is_virtual ? inputs.input_ids[r] - static_cast<int32_t>(words) : -1;
    }
    return {text, number};
  }

  // Queries, keys and values of layer i.
  Var project(Tape& tape, Var x, size_t i, const int32_t* virtual_token) const {
    const Var qkv = engine::linear(tape, x, layers_[i].qkv);
    if (!virtual_token) return qkv;
    const int64_t H = config_.n_embd, T = x->data.rows;
    auto* rows = tape.push_array<int32_t>(T);  // of the prefix, read as a row for each layer
    for (int64_t r = 0; r < T; ++r)
      rows[r] = virtual_token[r] < 0
                    ? -1
                    : virtual_token[r] * static_cast<int32_t>(layers_.size()) + static_cast<int32_t>(i);
    return engine::replace_columns(tape, {qkv, H}, 2 * H, *prefix_, rows);
  }

  Var attend(Tape& tape, Var qkv, size_t i, const Inputs& inputs, const KeyValueCache* cache) const {
    const Gpt2Layer& layer = layers_[i];
    const int64_t H = config_.n_embd;
    if (cache) {
      engine::put_rows(tape, {qkv, H}, cache->rows, cache->keys[i]);
      engine::put_rows(tape, {qkv, 2 * H}, cache->rows, cache->values[i]);
    }
    if (cache && !cache->empty)
      return engine::attention_cached(tape, {qkv, 0},
                                      {cache->keys[i], cache->values[i], cache->begin, cache->length},
                                      layer.attention, inputs.rows);
    return engine::attention(tape, {qkv, 0}, {qkv, H}, {qkv, 2 * H}, layer.attention,
                             layer.scope + ".attn.probs", inputs.rows, inputs.rows);
  }

  Var run(Tape& tape, const Inputs& inputs, const RowSelection& rows, const KeyValueCache* cache) const {
    const SplitIds ids = split(tape, inputs);
    const int32_t* virtual_token = ids.virtual_token;
    Var z = engine::embed(tape, embeddings_, ids.text, inputs.rows.position, nullptr,
                          static_cast<float>(config_.embd_pdrop), "transformer.drop", inputs.rows);
    Var x = layer_norm_of(tape, z);
    for (size_t i = 0; i < layers_.size(); ++i) {
      if (inputs.hidden_states) inputs.hidden_states->push_back(z);
      const auto both = tape.segment([this, i, x, z, inputs, rows, cache, virtual_token](Tape& t) {
        return run_layer(t, i, x, z, inputs, rows, cache, virtual_token);
      });
      x = both[0];
      z = both[1];
    }
    if (inputs.hidden_states) inputs.hidden_states->push_back(x);
    return x;
  }

  // The normalised stream and the stream itself; of the last layer, all behind the attention runs for the
  // selected rows only, and there is no stream.
  Tape::Results run_layer(Tape& tape, size_t i, Var x, Var z, const Inputs& inputs, const RowSelection& rows,
                          const KeyValueCache* cache, const int32_t* virtual_token) const {
    const auto dropout = static_cast<float>(config_.resid_pdrop);
    const Gpt2Layer& layer = layers_[i];
    const bool last = i + 1 == layers_.size();
    engine::Rows out_rows = inputs.rows;
    Var context = attend(tape, project(tape, x, i, virtual_token), i, inputs, cache);
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
        engine::residual_stream(tape, a, z, layer.ln_2, dropout, layer.scope + ".attn.c_proj", out_rows);
    const Var wide = engine::linear(tape, middle.y, chosen(layer.wide), config_.activation);
    const Var narrow = engine::linear(tape, wide, chosen(layer.narrow));
    const std::string scope = layer.scope + ".mlp";
    if (last) return {engine::residual_norm(tape, narrow, middle.z, ln_f_, dropout, scope, out_rows)};
    const engine::Stream next =
        engine::residual_stream(tape, narrow, middle.z, layers_[i + 1].ln_1, dropout, scope, out_rows);
    return {next.y, next.z};
  }

  Var layer_norm_of(Tape& tape, Var z) const {
    return engine::residual_norm(tape, z, nullptr, layers_.front().ln_1, 0, "", {});
  }

  Gpt2Config config_;
  engine::Embeddings embeddings_;
  std::vector<Gpt2Layer> layers_;
  engine::Norm ln_f_;
  engine::Parameter* prefix_ = nullptr;  // keys and values of virtual tokens, where a prefix is trained
};

// A linear layer without bias on the last token of each sequence that is not the padding token, as the
// reference finds it: trailing padding tokens of the text itself are skipped, too; the first token where all
// are.
struct LastTokenHead : Head {
  engine::Linear score;
  std::optional<int64_t> pad_token_id;
  std::shared_ptr<std::atomic<bool>> warned = std::make_shared<std::atomic<bool>>(false);

  RowSelection rows(Tape& tape, const data::RaggedBatch& batch) const override {
    if (!pad_token_id) {
      if (batch.size() > 1 && !warned->exchange(true))
        log_warning(
            "config.json has no pad_token_id: each text is classified by its last token; the reference "
            "refuses more than one text at once");
      return last_rows(tape, batch);
    }
    auto* rows = tape.push_array<int32_t>(batch.size());
    for (int32_t b = 0; b < batch.size(); ++b) {
      const int32_t begin = batch.cu_seqlens[static_cast<size_t>(b)];
      int32_t row = batch.cu_seqlens[static_cast<size_t>(b) + 1] - 1;
      while (row > begin && batch.input_ids[static_cast<size_t>(row)] == *pad_token_id) --row;
      rows[b] = row;
    }
    return {rows, batch.size(), true};
  }
  Var logits(Tape& tape, Var hidden, const engine::Rows& /*rows*/) const override {
    return engine::linear(tape, hidden, score);
  }
};

Network make_gpt2_sequence_classification(engine::ParameterStore& store, const ModelConfig& config) {
  const Gpt2Config c = Gpt2Config::read(config);
  Network n;
  n.encoder = std::make_unique<Gpt2>(store, c, false);
  LastTokenHead head;
  head.score = Scope(store, "").linear("score", c.num_labels, c.n_embd, false);
  head.score.fp32 = true;  // one row a sequence costs next to nothing
  head.pad_token_id = c.pad_token_id;
  n.head = std::make_unique<LastTokenHead>(head);
  return n;
}

Network make_gpt2_token_classification(engine::ParameterStore& store, const ModelConfig& config) {
  const Gpt2Config c = Gpt2Config::read(config);
  return with_token_head(std::make_unique<Gpt2>(store, c, false), store, c.n_embd, c.num_labels,
                         c.classifier_dropout);
}

Network make_gpt2_causal_lm(engine::ParameterStore& store, const ModelConfig& config) {
  const Gpt2Config c = Gpt2Config::read(config);
  Network n;
  n.encoder = std::make_unique<Gpt2>(store, c, c.tie_word_embeddings);
  CausalLmHead head;
  if (c.tie_word_embeddings)
    head.decoder.weight = n.encoder->word_embeddings();
  else
    head.decoder = Scope(store, "").linear("lm_head", c.vocab_size, c.n_embd, false);
  n.head = std::make_unique<CausalLmHead>(head);
  return n;
}

Network make_gpt2_question_answering(engine::ParameterStore& store, const ModelConfig& config) {
  const Gpt2Config c = Gpt2Config::read(config);
  return with_span_head(std::make_unique<Gpt2>(store, c, false), store, c.n_embd);
}

}  // namespace

const Family& gpt2_family() {
  static const Family family = {
      "gpt2",
      "GPT2",
      "transformer",
      "transformer",
      "transformer.h",
      {"n_embd", "n_inner", "n_layer"},
      {{&kSequenceClassification, make_gpt2_sequence_classification},
       {&kTokenClassification, make_gpt2_token_classification},
       {&kCausalLm, make_gpt2_causal_lm},
       {&kQuestionAnswering, make_gpt2_question_answering}},
      {{"n_embd", "n_layer", "n_head", "n_inner", "n_positions", "activation_function", "resid_pdrop",
        "embd_pdrop", "attn_pdrop", "layer_norm_epsilon", "scale_attn_weights",
        "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "classifier_dropout", "hidden_dropout"},
       {},
       {{"hidden_size", "n_embd"},
        {"max_position_embeddings", "n_positions"},
        {"num_attention_heads", "n_head"},
        {"num_hidden_layers", "n_layer"}},
       {"n_ctx"}},
      {"lm_head.weight", nullptr, nullptr},
      {".attn.bias", ".attn.masked_bias"}};
  return family;
}

}  // namespace graft::models
