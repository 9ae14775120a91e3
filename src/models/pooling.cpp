#include "models/pooling.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "engine/basic_ops.h"
#include "models/scope.h"

namespace graft::models {

using engine::Rows;
using engine::Tape;
using engine::Var;

namespace {

bool reads_only(const std::vector<hub::Pooling>& modes, hub::Pooling mode) {
  return std::all_of(modes.begin(), modes.end(), [&](hub::Pooling m) { return m == mode; });
}

Var constant_of(Tape& tape, const float* values, int64_t rows, int64_t cols) {
  return tape.constant(
      engine::make_tensor(const_cast<float*>(tape.on_device(values, rows * cols)), rows, cols));
}

// One row of each sequence: the first, or the last.
Var row_of_each(Tape& tape, Var hidden, const Rows& rows, bool last) {
  auto* chosen = tape.push_array<int32_t>(rows.num_sequences);
  for (int64_t b = 0; b < rows.num_sequences; ++b)
    chosen[b] = last ? rows.cu_seqlens[b + 1] - 1 : rows.cu_seqlens[b];
  return engine::gather(tape, hidden, chosen, rows.num_sequences);
}

// Mean times f(length of the sequence).
template <class F>
Var scaled_mean(Tape& tape, Var x, const Rows& rows, F f) {
  auto* factors = tape.push_array<float>(rows.num_sequences);
  for (int64_t b = 0; b < rows.num_sequences; ++b)
    factors[b] = static_cast<float>(f(static_cast<double>(rows.cu_seqlens[b + 1] - rows.cu_seqlens[b])));
  return engine::mul(tape, engine::mean_pool(tape, x, rows),
                     constant_of(tape, factors, rows.num_sequences, 1));
}

// The weights of tokens 1, 2, ... n, as factors of a mean: n * i / (1 + 2 + ... + n).
Var weighted_mean(Tape& tape, Var hidden, const Rows& rows) {
  auto* weights = tape.push_array<float>(rows.num_rows);
  for (int64_t b = 0; b < rows.num_sequences; ++b) {
    const int32_t begin = rows.cu_seqlens[b], n = rows.cu_seqlens[b + 1] - begin;
    for (int32_t i = 0; i < n; ++i)
      weights[begin + i] = static_cast<float>(2.0 * (i + 1) / (static_cast<double>(n) + 1));
  }
  return engine::mean_pool(tape, engine::mul(tape, hidden, constant_of(tape, weights, rows.num_rows, 1)),
                           rows);
}

// The largest value of each column: a sum over a mask that keeps its row alone, which also is the gradient's.
Var max_pool(Tape& tape, Var hidden, const Rows& rows) {
  const int64_t width = hidden->data.cols;
  auto* mask = tape.push_array<float>(rows.num_rows * width);
  if (!tape.planning()) {
    std::fill_n(mask, rows.num_rows * width, 0.0f);
    const engine::Tensor x = tape.on_host(hidden->data);
    for (int64_t b = 0; b < rows.num_sequences; ++b)
      for (int64_t c = 0; c < width; ++c) {
        int64_t best = rows.cu_seqlens[b];
        for (int64_t r = best + 1; r < rows.cu_seqlens[b + 1]; ++r)
          if (x.row(r)[c] > x.row(best)[c]) best = r;
        mask[best * width + c] = 1;
      }
  }
  return scaled_mean(tape, engine::mul(tape, hidden, constant_of(tape, mask, rows.num_rows, width)), rows,
                     [](double n) { return n; });
}

Var pool(Tape& tape, Var hidden, const Rows& rows, hub::Pooling mode) {
  switch (mode) {
    case hub::Pooling::cls:
      return row_of_each(tape, hidden, rows, false);
    case hub::Pooling::lasttoken:
      return row_of_each(tape, hidden, rows, true);
    case hub::Pooling::max:
      return max_pool(tape, hidden, rows);
    case hub::Pooling::mean_sqrt_len_tokens:
      return scaled_mean(tape, hidden, rows, [](double n) { return std::sqrt(n); });
    case hub::Pooling::weightedmean:
      return weighted_mean(tape, hidden, rows);
    default:
      return engine::mean_pool(tape, hidden, rows);
  }
}

// The names are torch's classes; a release may put them into another module.
engine::Activation activation_of(const hub::DenseModule& dense, const hub::SentenceTransformer& modules) {
  const std::string name = dense.activation.substr(dense.activation.rfind('.') + 1);
  for (const auto& [known, activation] : {std::pair{"Identity", engine::Activation::none},
                                          {"Tanh", engine::Activation::tanh},
                                          {"ReLU", engine::Activation::relu},
                                          {"GELU", engine::Activation::gelu},
                                          {"SiLU", engine::Activation::silu}})
    if (name == known) return activation;
  fail("{}: activation_function \"{}\" is not implemented (Identity, Tanh, ReLU, GELU, SiLU are)",
       (modules.folder / dense.path / "config.json").string(), dense.activation);
}

void check_modules(const hub::SentenceTransformer& modules, const ModelConfig& config, int64_t hidden_size) {
  if (!modules.other_modules.empty())
    fail(
        "{}: the module {} is not implemented, or not at its place (Transformer, Pooling, Dense and "
        "Normalize "
        "are, in this order)",
        (modules.folder / "modules.json").string(), modules.other_modules.front());
  if (modules.embedding_dimension > 0 && modules.embedding_dimension != hidden_size)
    fail_with("one of the two files belongs to another model: copy the folder again",
              "{}: the pooling is for tokens of {} dimensions, but {} has a hidden size of {}",
              modules.pooling_file.empty() ? modules.folder.string() : modules.pooling_file.string(),
              modules.embedding_dimension, config.origin(), hidden_size);
}

}  // namespace

std::string dense_scope(size_t i) { return fmt::format("dense.{}", i); }

int64_t embedding_dimension(const hub::SentenceTransformer& modules, int64_t hidden_size) {
  if (!modules.dense.empty()) return modules.dense.back().out_features;
  return hidden_size * std::max<int64_t>(1, static_cast<int64_t>(modules.pooling.size()));
}

RowSelection PoolingHead::rows(Tape& tape, const data::RaggedBatch& batch) const {
  if (reads_only(modes, hub::Pooling::cls)) return first_rows(batch);
  if (reads_only(modes, hub::Pooling::lasttoken)) return last_rows(tape, batch);
  return all_rows(batch);
}

Var PoolingHead::logits(Tape& tape, Var hidden, const Rows& rows) const {
  std::vector<Var> parts;
  parts.reserve(modes.size());
  for (const hub::Pooling mode : modes) parts.push_back(pool(tape, hidden, rows, mode));
  Var x = parts.size() == 1 ? parts.front() : engine::concat_columns(tape, parts);
  for (const Dense& d : dense) {
    engine::Linear layer = d.layer;
    layer.fp32 = true;  // one row a text, whose rounding would go straight into the embedding
    x = engine::linear(tape, x, layer, d.activation);
  }
  return normalize ? engine::normalize(tape, x) : x;
}

Network with_pooling(std::unique_ptr<Encoder> encoder, engine::ParameterStore& store,
                     const ModelConfig& config, int64_t hidden_size) {
  const hub::SentenceTransformer& modules = config.modules;
  check_modules(modules, config, hidden_size);
  PoolingHead head;
  head.modes = modules.pooling;
  if (head.modes.empty()) head.modes.push_back(hub::Pooling::mean);
  head.normalize = modules.normalize;
  auto width = hidden_size * static_cast<int64_t>(head.modes.size());
  for (size_t i = 0; i < modules.dense.size(); ++i) {
    const hub::DenseModule& dense = modules.dense[i];
    if (dense.in_features != width)
      fail_with("one of the files belongs to another model: copy the folder again",
                "{}: \"in_features\" is {}, but the module before it gives {} numbers",
                (modules.folder / dense.path / "config.json").string(), dense.in_features, width);
    head.dense.push_back(
        {Scope(store, dense_scope(i)).linear("linear", dense.out_features, width, dense.bias),
         activation_of(dense, modules)});
    width = dense.out_features;
  }
  Network n;
  n.encoder = std::move(encoder);
  n.head = std::make_unique<PoolingHead>(std::move(head));
  return n;
}

void keep_pooler(const engine::Linear& pooler) {
  for (engine::Parameter* p : {pooler.weight, pooler.bias}) {
    p->unused = true;
    p->trainable = false;
  }
}

}  // namespace graft::models
