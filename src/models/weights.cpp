#include "models/weights.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "base/error.h"
#include "base/philox.h"
#include "base/threads.h"
#include "models/pooling.h"

namespace graft::models {

using engine::Init;
using engine::Parameter;

namespace {

bool starts_with(const std::string& s, const std::string& prefix) {
  return s.compare(0, prefix.size(), prefix) == 0;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

void initialize(State& state, const Parameter& p, uint64_t seed) {
  const engine::HostWrite values = state.parameters.write_value(p);
  float* out = values.data();
  if (p.init != Init::normal) {
    std::fill_n(out, p.size, p.init == Init::ones ? static_cast<float>(p.init_factor) : 0.0f);
    return;
  }
  const double range = p.init_std > 0 ? p.init_std : state.config.number_or("initializer_range", 0.02);
  PhiloxStream stream(philox_key(seed, 0, p.name));
  for (int64_t i = 0; i < p.size; ++i) {
    double x = range * stream.normal();
    while (p.init_cutoff > 0 && std::fabs(x) > p.init_cutoff) x = range * stream.normal();
    out[i] = static_cast<float>(x);
  }
  if (p.padding_row >= 0 && p.padding_row < p.rows())
    std::fill_n(out + p.padding_row * p.cols(), p.cols(), 0.0f);
}

using Tensors = std::map<std::string, const hub::TensorView*>;

bool is_tied(const State& state) { return state.config.flag_or("tie_word_embeddings", true); }

// The other name that the tensor of a parameter may have, "" for none.
std::string other_name(const State& state, const Tensors& tensors, const std::string& name) {
  const TiedDecoder& d = state.family->decoder;
  if (is_tied(state) && name == state.network.encoder->word_embeddings()->name)
    return d.weight && tensors.count(d.weight) ? d.weight : "";
  if (d.bias && name == d.tied_bias) return d.bias;
  if (d.bias && name == d.bias) return d.tied_bias;  // untied, saved by 4.57, which ties the biases always
  return "";
}

// Buffers and second copies that the reference writes beside the parameters: nothing is lost with them.
bool is_known_extra(const State& state, const std::string& name) {
  if (name.ends_with("embeddings.position_ids")) return true;
  const auto& buffers = state.family->buffers;
  if (std::any_of(buffers.begin(), buffers.end(), [&](const char* end) { return name.ends_with(end); }))
    return true;
  if (!state.head->predicts_tokens) return false;
  const TiedDecoder& d = state.family->decoder;
  return (d.weight && name == d.weight) || (d.bias && (name == d.bias || name == d.tied_bias));
}

const hub::TensorView* find_or_null(const Tensors& tensors, const std::string& name) {
  const auto it = tensors.find(name);
  return it == tensors.end() ? nullptr : it->second;
}

// Under its own name, with or without the base prefix (a checkpoint of the bare encoder, or of a class
// without the prefix), or under its other name.
const hub::TensorView* find_tensor(const State& state, const Tensors& tensors, const Parameter& p) {
  const hub::TensorView* t = find_or_null(tensors, p.name);
  if (!t && is_backbone(*state.family, p.name))
    t = find_or_null(tensors, other_backbone_name(*state.family, p.name));
  if (!t && &p == state.network.encoder->word_embeddings()) {
    for (const char* copy : state.family->embedding_copies)
      if (!t) t = find_or_null(tensors, copy);
  }
  const std::string other = other_name(state, tensors, p.name);
  const hub::TensorView* second = other.empty() ? nullptr : find_or_null(tensors, other);
  if (!t || !second) return t ? t : second;
  // Two copies of one parameter. Untied, the decoder's own bias is in use and the other one is not. A
  // classifier does not read the decoder.
  if (is_tied(state) && state.head->predicts_tokens && t->data != second->data &&
      (t->shape != second->shape || t->num_bytes != second->num_bytes ||
       std::memcmp(t->data, second->data, t->num_bytes) != 0)) {
    fail_with(
        fmt::format("set \"tie_word_embeddings\": false in {} to use both, or remove the one that is not "
                    "trained",
                    state.config.origin()),
        "{}: tensors {} and {} hold different values, but \"tie_word_embeddings\" makes them one "
        "parameter",
        t->file, t->name, second->name);
  }
  return t;
}

// By today's names; error where two tensors of the file have the same one.
Tensors by_modern_name(const hub::StateDict& dict) {
  Tensors tensors;
  for (const hub::TensorView& t : dict.tensors()) {
    const auto [at, fresh] = tensors.emplace(modern_name(t.name), &t);
    if (fresh) continue;
    fail_with("remove one of them: gamma and beta are the old names of a LayerNorm's weight and bias",
              "{}: tensors {} and {} are the same parameter", t.file, at->second->name, t.name);
  }
  return tensors;
}

bool may_be_new(const State& state, const Parameter& p) {
  return !is_backbone(*state.family, p.name) ||
         starts_with(p.name, std::string(state.family->base_prefix) + ".pooler.");
}

// Parameters of a feed-forward module of a sentence encoder.
bool is_dense_module(const Parameter& p, const std::string& scope = "dense") {
  return starts_with(p.name, scope + ".");
}

}  // namespace

bool is_separate_module(const Parameter& p) { return is_dense_module(p); }

// Where the reference's class of the backbone alone has no prefix.
std::string saved_name(const State& state, const Parameter& p) {
  const std::string prefix = std::string(state.family->base_prefix) + ".";
  return state.head->is_bare && starts_with(p.name, prefix) ? p.name.substr(prefix.size()) : p.name;
}

std::string modern_name(const std::string& name) {
  const auto replace_end = [&](const std::string& from, const std::string& to) {
    return name.ends_with(from) ? name.substr(0, name.size() - from.size()) + to : name;
  };
  if (name.ends_with(".gamma")) return replace_end(".gamma", ".weight");
  if (name.ends_with(".beta")) return replace_end(".beta", ".bias");
  return name;
}

std::vector<int64_t> stored_shape(const Parameter& p) {
  return p.stored_transposed ? std::vector<int64_t>(p.shape.rbegin(), p.shape.rend()) : p.shape;
}

void load_values(const hub::TensorView& t, const Parameter& p, float* out) {
  if (!p.stored_transposed) return hub::copy_to_float(t, out);
  std::vector<float> stored(static_cast<size_t>(p.size));
  hub::copy_to_float(t, stored.data());
  const auto rows = static_cast<size_t>(p.rows()), cols = static_cast<size_t>(p.cols());
  for (size_t r = 0; r < rows; ++r)
    for (size_t c = 0; c < cols; ++c) out[r * cols + c] = stored[c * rows + r];
}

namespace {

// A file saved from a wrapper (DataParallel, torch.compile) has a prefix before every name.
[[noreturn]] void fail_for_missing(const State& state, const Parameter& p, const Tensors& tensors) {
  const std::string what =
      fmt::format("{}: tensor {} {} is missing", state.origin.string(), p.name, shape_text(stored_shape(p)));
  for (const auto& [name, t] : tensors)
    if (name.ends_with("." + p.name))
      fail_with(fmt::format("the file has it as {}: save the state dict of the model inside the wrapper, "
                            "or remove \"{}\" from all names",
                            name, name.substr(0, name.size() - p.name.size())),
                "{}", what);
  fail_with("the checkpoint does not fit its config.json, or the download is incomplete", "{}", what);
}

[[noreturn]] void fail_for_shape(const State& state, const Parameter& p, const hub::TensorView& t,
                                 const ModelOptions& options) {
  const std::string what = fmt::format("{}: tensor {} is {} but the model needs {}", t.file, t.name,
                                       shape_text(t.shape), shape_text(stored_shape(p)));
  const bool other_labels = state.head->has_labels && !is_backbone(*state.family, p.name) &&
                            t.shape.size() == p.shape.size() && !p.shape.empty() &&
                            std::equal(t.shape.begin() + 1, t.shape.end(), p.shape.begin() + 1);
  if (other_labels && options.labels.empty() && options.num_labels == 0) {
    fail_with(fmt::format("give \"id2label\" in {} {} names", state.config.origin(), t.shape[0]),
              "{}: the head in the checkpoint has {} labels, but config.json does not agree: {}", what,
              t.shape[0], state.labels_in_config);
  }
  if (other_labels) fail_with("--ignore_mismatched_sizes true replaces the head by a new one", "{}", what);
  fail_with(fmt::format("the checkpoint does not fit the sizes in {}: copy both again from one place",
                        state.config.origin()),
            "{}", what);
}

}  // namespace

void load_weights(State& state, const hub::StateDict& dict, const ModelOptions& options) {
  const Tensors tensors = by_modern_name(dict);
  std::set<const hub::TensorView*> used;
  for (const Parameter& p : state.parameters.parameters()) {
    if (p.of_generator) continue;
    const hub::TensorView* t = find_tensor(state, tensors, p);
    if (!t) {
      if (!may_be_new(state, p)) fail_for_missing(state, p, tensors);
      initialize(state, p, options.seed);
      if (!p.unused && !is_dense_module(p)) state.report.missing.push_back(p.name);
      continue;
    }
    used.insert(t);
    if (t->shape != stored_shape(p)) {
      if (!options.ignore_mismatched_sizes) fail_for_shape(state, p, *t, options);
      initialize(state, p, options.seed);
      state.report.mismatched.push_back(
          fmt::format("{} {} -> {}", p.name, shape_text(t->shape), shape_text(stored_shape(p))));
      continue;
    }
    if (!p.shared) load_values(*t, p, state.parameters.write_value(p).data());
  }
  for (const auto& [name, t] : tensors) {
    if (!used.count(t) && !is_known_extra(state, name)) state.report.unexpected.push_back(name);
  }
  state.parameters.touch_values();
}

namespace {

// [rows, cols] of a tensor whose first dimension is the vocabulary.
void resize_rows(const float* from, int64_t old_rows, float* to, int64_t new_rows, int64_t cols) {
  std::copy_n(from, std::min(old_rows, new_rows) * cols, to);
  if (new_rows <= old_rows) return;
  std::vector<double> mean(static_cast<size_t>(cols));
  for (int64_t r = 0; r < old_rows; ++r)
    for (int64_t c = 0; c < cols; ++c) mean[static_cast<size_t>(c)] += from[r * cols + c];
  for (int64_t r = old_rows; r < new_rows; ++r)
    for (int64_t c = 0; c < cols; ++c)
      to[r * cols + c] = static_cast<float>(mean[static_cast<size_t>(c)] / static_cast<double>(old_rows));
}

}  // namespace

void load_dense_modules(State& state) {
  const hub::SentenceTransformer& modules = state.config.modules;
  for (size_t i = 0; i < modules.dense.size(); ++i) {
    const std::filesystem::path folder = modules.folder / modules.dense[i].path;
    const hub::StateDict dict = hub::read_checkpoint(folder);
    const std::string scope = dense_scope(i);
    for (const Parameter& p : state.parameters.parameters()) {
      if (!is_dense_module(p, scope)) continue;
      const std::string name = p.name.substr(scope.size() + 1);
      const hub::TensorView* t = dict.find(name);
      if (!t)
        fail_with("download the folder again, subfolders included", "{}: tensor {} is missing",
                  folder.string(), name);
      if (t->shape != stored_shape(p))
        fail_with("download the folder again, subfolders included",
                  "{}: tensor {} is {} but config.json needs {}", t->file, name, shape_text(t->shape),
                  shape_text(stored_shape(p)));
      load_values(*t, p, state.parameters.write_value(p).data());
    }
  }
  state.parameters.touch_values();
}

void copy_weights(State& state, const State& from, const ModelOptions& options) {
  const int64_t old_vocabulary = from.network.encoder->word_embeddings()->rows();
  const int64_t vocabulary = state.network.encoder->word_embeddings()->rows();
  for (const Parameter& p : state.parameters.parameters()) {
    const Parameter* found = from.parameters.find(p.name);
    if (!found && is_backbone(*state.family, p.name))
      found = from.parameters.find(other_backbone_name(*state.family, p.name));
    if (!found) {
      initialize(state, p, options.seed);
      state.report.missing.push_back(p.name);
      continue;
    }
    const Parameter& old = *found;
    const bool resized = old.shape[0] == old_vocabulary && p.shape[0] == vocabulary &&
                         old.size / old_vocabulary == p.size / vocabulary;
    if (p.shape != old.shape && !resized) {  // another number of labels
      if (!options.ignore_mismatched_sizes)
        fail_with("ignore_mismatched_sizes replaces the head by a new one",
                  "{}: {} is {} but the new head needs {}", from.origin.string(), p.name,
                  shape_text(old.shape), shape_text(p.shape));
      initialize(state, p, options.seed);
      state.report.mismatched.push_back(
          fmt::format("{} {} -> {}", p.name, shape_text(old.shape), shape_text(p.shape)));
      continue;
    }
    const engine::HostWrite out = state.parameters.write_value(p);
    if (p.shape == old.shape) {
      copy_merged(from, old, out.data());
    } else {
      const engine::HostRead values = from.parameters.read_value(old);
      resize_rows(values.data(), old_vocabulary, out.data(), vocabulary, p.size / vocabulary);
    }
  }
  for (const Parameter& p : from.parameters.parameters())
    if (!p.of_adapter && !state.parameters.find(p.name) &&
        !(is_backbone(*from.family, p.name) &&
          state.parameters.find(other_backbone_name(*from.family, p.name))))
      state.report.unexpected.push_back(p.name);
  state.parameters.touch_values();
}

void initialize_parameter(State& state, const Parameter& parameter, uint64_t seed) {
  initialize(state, parameter, seed);
}

void initialize_weights(State& state, uint64_t seed) {
  for (const Parameter& p : state.parameters.parameters()) initialize(state, p, seed);
  state.parameters.touch_values();
}

std::optional<NonFinite> first_non_finite(const State& state) {
  constexpr uint32_t kExponent = 0x7f800000;  // all ones in NaN and in infinity
  for (const Parameter& p : state.parameters.parameters()) {
    const engine::HostRead x = state.parameters.read_value(p);
    std::atomic<bool> finite = true;
    parallel_blocks(x.size(), 1 << 18, [&](int64_t begin, int64_t end) {
      uint32_t largest = 0;
      for (int64_t i = begin; i < end; ++i)
        largest = std::max(largest, std::bit_cast<uint32_t>(x[i]) & kExponent);
      if (largest == kExponent) finite = false;
    });
    if (finite) continue;
    const float* bad = std::find_if(x.begin(), x.end(), [](float v) { return !std::isfinite(v); });
    return NonFinite{p.name, bad - x.begin(), *bad};
  }
  return std::nullopt;
}

WeightsToWrite tensors_to_write(const State& state, DType dtype) {
  WeightsToWrite out;
  for (const Parameter& p : state.parameters.parameters()) {
    if (p.of_adapter || p.of_generator || (state.head->is_bare && is_dense_module(p))) continue;
    out.values.push_back(state.parameters.read_value(p));
    const float* data = out.values.back().data();
    out.tensors.push_back({saved_name(state, p), stored_shape(p), dtype, data, p.stored_transposed});
    // Untied: release 4.57 reads the bias under the tied name, 5.24 under the decoder's.
    const TiedDecoder& d = state.family->decoder;
    if (d.bias && p.name == d.bias) out.tensors.push_back({d.tied_bias, p.shape, dtype, data});
    if (state.head->predicts_tokens && &p == state.network.encoder->word_embeddings() && is_tied(state) &&
        state.family->copies_decoder && state.family->copies_decoder(state.config))
      out.tensors.push_back({d.weight, p.shape, dtype, data});
  }
  return out;
}

WeightsToWrite dense_tensors_to_write(const State& state, size_t i, DType dtype) {
  WeightsToWrite out;
  const std::string scope = dense_scope(i);
  for (const Parameter& p : state.parameters.parameters()) {
    if (!is_dense_module(p, scope)) continue;
    out.values.push_back(state.parameters.read_value(p));
    out.tensors.push_back(
        {p.name.substr(scope.size() + 1), stored_shape(p), dtype, out.values.back().data()});
  }
  return out;
}

}  // namespace graft::models
