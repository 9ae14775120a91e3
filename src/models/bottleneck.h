// Bottleneck adapters inside the layers of a post-norm encoder, as AdapterHub's library computes them: a
// projection down, an activation, a projection up. In sequence behind the feed-forward part (Pfeiffer et al.
// 2020) or also behind the attention (Houlsby et al. 2019), or in parallel (He et al. 2022).
#pragma once
#include <map>
#include <string>
#include <vector>

#include "engine/ops.h"
#include "models/bottleneck_config.h"

namespace graft::models {

struct State;

// One adapter, at one place of a layer.
struct Bottleneck {
  engine::Linear down, up;               // [size, H], [H, size]
  engine::Norm norm_before, norm_after;  // of its own; weight null: none
  engine::Parameter* scaling = nullptr;  // trained factors of the output, [1] or [H]; null: `factor`
  float factor = 1, dropout = 0;
  engine::Activation activation = engine::Activation::none;
  bool is_parallel = false, original_ln_before = false, original_ln_after = true,
       adapter_residual_before_ln = false;
  // What is added to its output: the layer's x, x + residual, or the norm of that.
  enum class Residual : uint8_t { x, sum, normed } around = Residual::x;
  std::string scope;  // keys its dropout
};

// In place of norm(residual + x): x [T,H] is the dropped output of the attention or the feed-forward part,
// `residual` [T,H] what that read. Of several adapters each has the output of the one before as its x (the
// library's Stack), and none of them is parallel. With up = 0 the result of one has the bits of
// norm(residual + x) for the configurations seq_bn, double_seq_bn and par_bn.
engine::Var with_bottlenecks(engine::Tape& tape, const std::vector<Bottleneck>& adapters, engine::Var x,
                             engine::Var residual, const engine::Norm& norm, const engine::Rows& rows);

// The library's tensor names and those of the parameters are the same. `sizes`: of bottlenecks by the name of
// their `adapter_down` weight, where they are not those of the config.
// Declares the parameters of all adapters in the model's open store and puts them into its layers, above
// those that are there, and the invertible adapter of the config behind its embeddings. Throws Error for a
// model_type without them and for a layer in leave_out that the model does not have.
void declare_bottlenecks(State& state, const BottleneckConfig& config,
                         const std::map<std::string, int64_t>& sizes = {});
// How many adapters the model's layers have beside those of a language adapter below them.
int64_t count_bottlenecks(const State& state);

}  // namespace graft::models
