// How the bottleneck adapters of a model are made: adapter_config.json as AdapterHub's library (adapters 1.3,
// and adapter-transformers before it) reads and writes it.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"

namespace graft::models {

struct BottleneckConfig {
  bool mh_adapter = false, output_adapter = true;  // behind the attention, behind the feed-forward part
  double reduction_factor = 16;                    // hidden size / size of the bottleneck
  std::map<int64_t, double> layer_factors;         // by layer, where they differ from it
  std::string non_linearity = "relu";
  bool original_ln_before = true,
       original_ln_after = true;             // the layer's own sum and norm, around the adapter
  bool ln_before = false, ln_after = false;  // norms of the adapter's own
  bool is_parallel = false;                  // reads what the feed-forward part reads
  std::string residual_before_ln = "true";   // true, false, post_add
  bool adapter_residual_before_ln = false;
  double scaling = 1;
  std::string trained_scaling;        // "", learned (one factor), channel (one for each column)
  std::string init_weights = "bert";  // bert, mam_adapter, houlsby
  std::vector<int64_t> leave_out;     // numbers of the layers without adapters
  double dropout = 0;
  std::string inv_adapter;  // "", or nice: an invertible adapter (models/invertible.h)
  double inv_adapter_reduction_factor = 2;
  std::string name = "default";   // of the adapter: a part of its tensors' names
  std::string load_lang_adapter;  // of graft's files: the folder of the language adapter below it; "" = none
  std::string type;               // of older files: text_task, text_lang
  // Of the base, for messages; "" and 0 where the file does not have them.
  std::string model_type;
  int64_t hidden_size = 0;
  bool is_old = false;  // of a release before 3, whose task adapters state invertible adapters and have none

  // The configuration of a name of the library (seq_bn, double_seq_bn, par_bn, scaled_par_bn, seq_bn_inv,
  // double_seq_bn_inv, or their older names pfeiffer, houlsby, parallel, ...). Throws Error listing the
  // names.
  static BottleneckConfig of_name(const std::string& name);
  // From the content of a file. Throws Error naming file and key for what graft does not compute.
  static BottleneckConfig read(const Json& file, const std::string& origin);
  // The value of "config".
  Json json() const;
  // Task adapters of old releases state an invertible adapter and have none: `has_tensors` decides. Throws
  // Error for a kind that graft does not compute.
  void settle_invertible(bool has_tensors, const std::string& origin);
  // Throws Error for values that exclude each other; `origin` names their place.
  void check(const std::string& origin) const;

  // The size of the bottleneck in a layer whose hidden size is `hidden`.
  int64_t size_in(int64_t layer, int64_t hidden) const;
  bool leaves_out(int64_t layer) const;
};

// "seq_bn" for "pfeiffer", ...; other names are returned as they are.
std::string bottleneck_name(const std::string& name);
// Whether an adapter_config.json is of AdapterHub's library, not of peft.
bool is_bottleneck_file(const Json& file);

}  // namespace graft::models
