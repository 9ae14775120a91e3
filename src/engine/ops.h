// The fused operations of a transformer on the tape. Each has a kernel pair behind the op table, a plain twin
// in the tests and a finite-difference check.
#pragma once
#include <string_view>

#include "engine/attention_ops.h"
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
  Parameter *weight = nullptr, *bias = nullptr;  // bias may be null
  float eps = 1e-12f;
  NormKind kind = NormKind::layer_norm;
};

struct Embeddings {
  Parameter *word = nullptr, *position = nullptr, *token_type = nullptr;  // position, token_type may be null
  Norm norm;                                                              // weight null: no norm
  Parameter* prompt = nullptr;  // of virtual tokens, whose ids are those from word->rows() on; null: none
};

// x [T,K] -> [T,N]. Parameters with an adapter add its product.
Var linear(Tape& tape, Var x, const Linear& layer, Activation activation = Activation::none);

// [T,H]: dropout(norm(word[input_ids] + position[position_ids] + token_type[token_type_ids])); ids are [T]
// arrays that outlive the tape; those of a table that is null are not read. Rows of a padding id get no
// gradient. A virtual token has a row of `prompt` in place of one of `word`.
Var embed(Tape& tape, const Embeddings& e, const int32_t* input_ids, const int32_t* position_ids,
          const int32_t* token_type_ids, float dropout, std::string_view scope, const Rows& rows);

// norm(residual + dropout(x)); residual may be null. x is clobbered: here and below, it must not be the
// result of an operation whose backward pass reads its result (exp, softmax, ...).
Var residual_norm(Tape& tape, Var x, Var residual, const Norm& norm, float dropout, std::string_view scope,
                  const Rows& rows);

// The residual stream of a pre-norm layer: z = residual + dropout(x) and y = norm(z). Other operations may
// read both. x is clobbered. (The norm of a stream that no layer has added to is layer_norm of basic_ops.h.)
struct Stream {
  Var z, y;
};
Stream residual_stream(Tape& tape, Var x, Var residual, const Norm& norm, float dropout,
                       std::string_view scope, const Rows& rows);
// residual + dropout(x). x is clobbered.
Var residual_add(Tape& tape, Var x, Var residual, float dropout, std::string_view scope, const Rows& rows);

Var dropout(Tape& tape, Var x, float p, std::string_view scope, const Rows& rows);

// act(a) * b on `width` columns each: GeGLU, SwiGLU and others. a and b are halves of one projection or parts
// of two.
Var gated(Tape& tape, Slice a, Slice b, int64_t width, Activation activation);

// Rows of x in the given order, [n]; a row may occur several times.
Var gather(Tape& tape, Var x, const int32_t* rows, int64_t n);

// Scalar losses: sum of row terms / denominator. Each term is added to `total`, if set, in order. Several
// losses may read the same logits. Cross entropy skips rows with a negative label.
struct LabelLoss {
  float label_smoothing = 0;
  const float* class_weights = nullptr;  // [classes], of the host, null = 1 each
  float focal_gamma = 0;                 // without label_smoothing
};
Var cross_entropy(Tape& tape, Var logits, const int32_t* labels, double denominator, double* total = nullptr,
                  const LabelLoss& options = {});
// cross_entropy(linear(x, layer), ...) without storing all logits: in chunks of rows, computed again in the
// backward pass. `layer` is one parameter. `right`, if set, counts the rows whose label has the largest
// logit.
struct CrossEntropyOptions {
  double* total = nullptr;
  float label_smoothing = 0;
  int64_t* right = nullptr;
};
Var linear_cross_entropy(Tape& tape, Var x, const Linear& layer, const int32_t* labels, double denominator,
                         const CrossEntropyOptions& options = {});
// Cross entropy over the rows of each segment: logits [R,1], segment s has the rows begin[s] to begin[s + 1],
// and labels[s] is a row within it; negative: skipped. The segments are the tokens of a sequence (the start
// of an answer), or the sequences of an example (a choice). Arrays outlive the tape.
Var segment_cross_entropy(Tape& tape, Var logits, const int32_t* begin, const int32_t* labels,
                          int64_t num_segments, double denominator, double* total = nullptr);
Var binary_cross_entropy(Tape& tape, Var logits, Tensor targets, double denominator, double* total = nullptr);
Var squared_error(Tape& tape, Var logits, Tensor targets, double denominator, double* total = nullptr);
// KL(softmax(target / temperature) || softmax(logits / temperature)) of each row, with gradients into both
// unless they are constants. (Distillation multiplies by temperature^2: Hinton et al. 2015.)
Var kl_divergence(Tape& tape, Var logits, Var target, float temperature, double denominator,
                  double* total = nullptr);
// How a student's rows relate to each other, against those of a teacher (Wang et al. 2021, MiniLMv2):
// kernel_args.h, RelationArgs. Both have a row for each of `rows` and columns of num_heads heads; the widths
// of a head may differ. The teacher gets no gradient.
Var relation_divergence(Tape& tape, Var student, Var teacher, int64_t num_heads, const Rows& rows,
                        double denominator, double* total = nullptr);

}  // namespace graft::engine
