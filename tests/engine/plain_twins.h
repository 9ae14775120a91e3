// Plain twins of the fused operations: double precision, one loop per index, nothing clever. The kernels are
// compared with these.
#pragma once
#include <fmt/format.h>

#include <cstdint>
#include <vector>

#include "engine/engine_case.h"
#include "engine/kernels.h"

namespace graft::engine::twin {

struct Mat {
  int64_t rows = 0, cols = 0;
  std::vector<double> v;

  Mat() = default;
  Mat(int64_t rows, int64_t cols) : rows(rows), cols(cols), v(static_cast<size_t>(rows * cols)) {}
  Mat(const test::Matrix& m);  // NOLINT: a twin reads what the kernel reads
  double& operator()(int64_t r, int64_t c) { return v[static_cast<size_t>(r * cols + c)]; }
  double operator()(int64_t r, int64_t c) const { return v[static_cast<size_t>(r * cols + c)]; }
};

// |got - want| must stay within tolerance * max(1e-3, largest |want|) and, for every element, within
// tolerance * elementwise * the scale of its own row and column.
void expect_close(const test::Matrix& got, const Mat& want, double tolerance, const std::string& what,
                  double elementwise = 1);

double activate(Activation activation, double x);
double activate_slope(Activation activation, double x);

// x [T,K], w [N,K], b [1,N] or empty -> [T,N] before and after the activation.
struct LinearOut {
  Mat pre, y;
};
LinearOut linear(const Mat& x, const Mat& w, const Mat& b, Activation activation);
struct LinearGrads {
  Mat dx, dw, db;
};
LinearGrads linear_backward(const Mat& x, const Mat& w, const LinearOut& out, Activation activation,
                            const Mat& dy);

// 0 or the scale: the documented mapping of kernels.h, one scalar Philox block per channel.
double dropout_factor(const Dropout& dropout, int64_t example, int32_t position, uint32_t extra,
                      int64_t channel);
// The factors of rows [T,H].
Mat dropout_factors(const Dropout& dropout, const Rows& rows, int64_t H);

struct NormOut {
  Mat z, y;
};
// norm(residual + factors * x); residual, factors and beta may be empty.
NormOut residual_norm(const Mat& x, const Mat& residual, const Mat& factors, const Mat& gamma,
                      const Mat& beta, double eps, NormKind kind = NormKind::layer_norm);
struct NormGrads {
  Mat dz, dgamma, dbeta;  // gradient of the residual; that of x is dz * factors
};
NormGrads norm_backward(const Mat& z, const Mat& gamma, double eps, const Mat& dy,
                        NormKind kind = NormKind::layer_norm);

// act(a) * b.
Mat gated(const Mat& a, const Mat& b, Activation activation);
struct GatedGrads {
  Mat da, db;
};
GatedGrads gated_backward(const Mat& a, const Mat& b, Activation activation, const Mat& dy);

// Rows rotated by their positions: pairs (c, c + d / 2) of heads of width d.
Mat rotary(const Mat& x, int64_t num_heads, int64_t head_dim, double theta, const int32_t* position);

struct AttentionOut {
  Mat out, lse;  // [Tq, heads*dim], [Tq, heads]
};
// Shapes, masks and dropout from `args`; q, k, v as double.
AttentionOut attention(const AttentionArgs& args, const Mat& q, const Mat& k, const Mat& v);
struct AttentionGrads {
  Mat dq, dk, dv, dbias;
};
AttentionGrads attention_backward(const AttentionArgs& args, const Mat& q, const Mat& k, const Mat& v,
                                  const Mat& dout);

struct LossOut {
  double loss = 0;
  Mat dlogits;
};
LossOut cross_entropy(const Mat& logits, const std::vector<int32_t>& labels, double denominator,
                      double label_smoothing = 0);
struct KlOut {
  double loss = 0;
  Mat dlogits, dtarget;
};
KlOut kl_divergence(const Mat& logits, const Mat& target, double temperature, double denominator);
// cu_seqlens: of the sequences whose rows relate to each other.
LossOut relation_divergence(const Mat& student, const Mat& teacher, int64_t heads,
                            const std::vector<int32_t>& cu_seqlens, double denominator);
LossOut binary_cross_entropy(const Mat& logits, const Mat& targets, double denominator);
LossOut squared_error(const Mat& logits, const Mat& targets, double denominator);

}  // namespace graft::engine::twin
