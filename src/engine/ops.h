// The fused operations of a transformer on the tape. Each has a kernel pair behind the op table, a plain twin
// in the tests and a finite-difference check.
#pragma once
#include <string_view>

#include "engine/rows.h"
#include "engine/tape.h"

namespace graft::engine {

// y = x w^T + b with the checkpoint's layout: weight [out, in], bias [out] or none. Adjacent parameters
// (query, key, value) form one matrix of their rows.
struct Linear {
  Parameter* weight = nullptr;  // the first of `count`
  Parameter* bias = nullptr;    // likewise; null = none
  int count = 1;
  bool fp32 = false;  // computes the product in fp32 also in bf16 mode: small layers sensitive to rounding
};

struct Norm {
  Parameter *weight = nullptr, *bias = nullptr;
  float eps = 1e-12f;
};

struct Embeddings {
  Parameter *word = nullptr, *position = nullptr, *token_type = nullptr;  // token_type may be null
  Norm norm;
};

// Columns [first, first + heads * dim) of v: one of q, k, v inside a fused projection.
struct Slice {
  Var v = nullptr;
  int64_t first = 0;
};

struct AttentionOptions {
  int64_t num_heads = 1, head_dim = 1;
  float scale = 1;
  bool causal = false;
  int32_t window = -1;
  float dropout = 0;
};

// x [T,K] -> [T,N].
Var linear(Tape& tape, Var x, const Linear& layer, Activation activation = Activation::none);

// [T,H]: dropout(LN(word[input_ids] + position[position_ids] + token_type[token_type_ids])); ids are [T]
// arrays that outlive the tape. Rows of a padding id get no gradient.
Var embed(Tape& tape, const Embeddings& e, const int32_t* input_ids, const int32_t* position_ids,
          const int32_t* token_type_ids, float dropout, std::string_view scope, const Rows& rows);

// LN(residual + dropout(x)); residual may be null. x is clobbered.
Var residual_norm(Tape& tape, Var x, Var residual, const Norm& norm, float dropout, std::string_view scope,
                  const Rows& rows);

// [Tq, heads * dim]; q_rows may be a subset of k_rows' positions, sequence by sequence. The result is zero
// for a query without unmasked keys. q, k and v must not be inputs of another operation.
Var attention(Tape& tape, Slice q, Slice k, Slice v, const AttentionOptions& options, std::string_view scope,
              const Rows& q_rows, const Rows& k_rows);

Var dropout(Tape& tape, Var x, float p, std::string_view scope, const Rows& rows);

// Rows of x in the given order, [n]; a row may occur several times.
Var gather(Tape& tape, Var x, const int32_t* rows, int64_t n);

// Scalar losses: sum of row terms / denominator. Rows with a negative label are skipped. Each term is added
// to `total`, if set, in order.
Var cross_entropy(Tape& tape, Var logits, const int32_t* labels, double denominator, double* total = nullptr);
Var binary_cross_entropy(Tape& tape, Var logits, Tensor targets, double denominator, double* total = nullptr);
Var squared_error(Tape& tape, Var logits, Tensor targets, double denominator, double* total = nullptr);

}  // namespace graft::engine
