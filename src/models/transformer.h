// The post-norm transformer layer of BERT and related models (Vaswani et al. 2017; Devlin et al. 2019). The
// architectures set the parameter names.
#pragma once
#include <array>
#include <vector>

#include "models/bottleneck.h"
#include "models/config.h"
#include "models/network.h"
#include "models/scope.h"

namespace graft::models {

// What all layers of a model know of relative positions.
struct RelativePositions {
  engine::AttentionBias bias{};  // added to the scores (MPNet)
  // DeBERTa: the embeddings of the relative positions that the batch has, [rows.n, H]. Each layer drops and
  // projects them.
  engine::Var embeddings = nullptr;
  engine::RelativeRows rows{};
  engine::Rows dropout_rows{};  // one sequence of rows.n rows
  float dropout = 0;
};

struct PostNormLayer {
  engine::Linear qkv, query, key_value;  // query and key_value are parts of qkv
  engine::Linear attention_output, intermediate, output;
  engine::Norm attention_norm, output_norm;
  engine::Activation activation = engine::Activation::gelu;
  engine::AttentionOptions attention;
  engine::Linear position_key, position_query;  // of RelativePositions::embeddings; either may be none
  float attention_output_dropout = 0, hidden_dropout = 0;
  std::string scope;                                                  // keys the layer's dropout
  std::vector<Bottleneck> attention_bottlenecks, output_bottlenecks;  // a stack: each reads the one before

  // x [T,H] -> [n,H]. Queries are computed for the selected rows only.
  engine::Var forward(engine::Tape& tape, engine::Var x, const Inputs& inputs, const RowSelection& rows,
                      const RelativePositions& positions) const;

 private:
  engine::Var attend(engine::Tape& tape, engine::Slice q, engine::Slice k, engine::Slice v,
                     const RelativePositions& positions, const engine::Rows& q_rows,
                     const engine::Rows& k_rows) const;
};

// The checkpoint names of a layer's parts below its scope.
struct PostNormNames {
  std::array<const char*, 3> qkv;
  const char *attention_output, *attention_norm, *intermediate, *output, *output_norm;
};

struct PostNormSizes {
  int64_t hidden = 0, heads = 0, intermediate = 0;
  double norm_eps = 1e-12;
  engine::Activation activation = engine::Activation::gelu;
  double attention_dropout = 0, attention_output_dropout = 0, output_dropout = 0;
};

// The keys of config.json that BERT and its kin share (transformers 5.24). The values here are the defaults;
// a family sets its own before it reads.
struct PostNormConfig {
  int64_t vocab_size = 0, hidden_size = 0, num_hidden_layers = 0, num_attention_heads = 0,
          intermediate_size = 0, max_position_embeddings = 512;
  engine::Activation hidden_act = engine::Activation::gelu;
  double hidden_dropout_prob = 0.1, attention_probs_dropout_prob = 0.1, layer_norm_eps = 1e-12;
  bool tie_word_embeddings = true;
  int64_t num_labels = 0;

  // Throws Error naming file and key.
  void read_shared(const ModelConfig& config, const char* default_act = "gelu");
  PostNormSizes sizes() const;
};

// Declares the parameters of one layer.
PostNormLayer make_post_norm_layer(engine::ParameterStore& store, const Scope& scope,
                                   const PostNormNames& names, const PostNormSizes& sizes);

// The embeddings' output as the layers read it: changed by an invertible adapter, if the model has one.
engine::Var adapted_embeddings(engine::Tape& tape, engine::Var x, const Inputs& inputs);
// Runs the layers on x, the last one for the selected rows. Fills inputs.hidden_states.
engine::Var run_layers(engine::Tape& tape, engine::Var x, const std::vector<PostNormLayer>& layers,
                       const Inputs& inputs, const RowSelection& rows,
                       const RelativePositions& positions = {});

// Positions of RoBERTa and MPNet, [T]: padding + 1, padding + 2, ...; padding tokens have the position
// `padding` and are not counted.
const int32_t* positions_after_padding(engine::Tape& tape, const Inputs& inputs, int32_t padding);
// Zeros, [T]: the token types of a model with one type, whatever numbers the tokenizer gives the texts of a
// pair.
const int32_t* one_token_type(engine::Tape& tape, const Inputs& inputs);

// "gelu", "gelu_new", "relu", ... as config.json spells them; Error naming the key otherwise.
engine::Activation parse_activation(const std::string& name, const std::string& origin);

}  // namespace graft::models
