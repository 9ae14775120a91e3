// The post-norm transformer layer of BERT and related models (Vaswani et al. 2017; Devlin et al. 2019). The
// architectures set the parameter names.
#pragma once
#include "models/network.h"
#include "models/scope.h"

namespace graft::models {

struct PostNormLayer {
  engine::Linear qkv, query, key_value;  // query and key_value are parts of qkv
  engine::Linear attention_output, intermediate, output;
  engine::Norm attention_norm, output_norm;
  engine::Activation activation = engine::Activation::gelu;
  engine::AttentionOptions attention;
  float attention_output_dropout = 0, hidden_dropout = 0;
  std::string scope;  // keys the layer's dropout

  // x [T,H] -> [T,H]; with `rows` -> [n,H], and queries are computed for these rows only.
  engine::Var forward(engine::Tape& tape, engine::Var x, const Inputs& inputs, const int32_t* rows,
                      int64_t n) const;
};

// Runs the layers on x, the last one for the requested rows. Fills inputs.hidden_states.
engine::Var run_layers(engine::Tape& tape, engine::Var x, const std::vector<PostNormLayer>& layers,
                       const Inputs& inputs, const int32_t* rows, int64_t n);

// "gelu", "gelu_new", "relu", ... as config.json spells them; Error naming the key otherwise.
engine::Activation parse_activation(const std::string& name, const std::string& origin);

}  // namespace graft::models
