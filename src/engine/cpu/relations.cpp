// Relations among the rows of each sequence, of a teacher and a student, and the gradient of their
// divergence.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/relations.cpp"
#include <hwy/foreach_target.h>
// foreach_target comes first
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>

#include "base/threads.h"
#include "engine/cpu/cpu_kernels.h"
#include "engine/cpu/log_softmax-inl.h"
#include "engine/cpu/scratch.h"
#include "engine/cpu/small_gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace graft::engine::cpu::HWY_NAMESPACE {

constexpr int64_t kAlign = 16;  // a multiple of every target's lanes
HWY_INLINE int64_t aligned(int64_t n) { return (n + kAlign - 1) / kAlign * kAlign; }

// x x^T of n rows of d numbers, in float_scratch(slot): [n, aligned(n)].
HWY_INLINE float* products_of_rows(const float* x, int64_t stride, int64_t n, int64_t d, int slot) {
  constexpr int kPanels = 2;
  float* panels = float_scratch(kPanels, panels_size(d, aligned(n)));
  float* out = float_scratch(slot, n * aligned(n));
  const Panels right = pack_transposed(x, stride, n, d, panels);
  small_gemm(n, n, d, {x, stride, 1}, right, out, aligned(n), false);
  return out;
}

// One head of one sequence: n rows. Returns the mean of its divergences.
double relation_of_head(const RelationArgs& a, int64_t begin, int64_t n, int64_t head) {
  const int64_t ds = a.student.cols / a.num_heads, dt = a.teacher.cols / a.num_heads, width = aligned(n);
  const float *x = a.student.row(begin) + head * ds, *y = a.teacher.row(begin) + head * dt;
  float* student = products_of_rows(x, a.student.stride, n, ds, 0);
  const float* teacher = products_of_rows(y, a.teacher.stride, n, dt, 1);
  const auto student_root = std::sqrt(static_cast<float>(ds)),
             teacher_root = std::sqrt(static_cast<float>(dt));
  const V slope = hn::Set(D(), 1 / (static_cast<float>(n) * student_root));
  double total = 0;
  for (int64_t r = 0; r < n; ++r) {
    float* s = student + r * width;
    const float* t = teacher + r * width;
    const LogSoftmax q = log_softmax_of(s, n, student_root), p = log_softmax_of(t, n, teacher_root);
    V sum = hn::Zero(D());
    for_vectors(n, [&](int64_t i, auto io) HWY_ATTR {
      const V log_p = p.at(io.load(t + i)), log_q = q.at(io.load(s + i)), of_p = exp_of(log_p);
      sum = hn::Add(sum, io.keep(hn::Mul(of_p, hn::Sub(log_p, log_q))));
      // The gradient of the products takes their place.
      if (a.gradient) io.store(hn::Mul(hn::Sub(exp_of(log_q), of_p), slope), s + i);
    });
    total += static_cast<double>(sum_of(sum));
  }
  if (a.gradient) {  // (G + G^T) x
    float* rows = float_scratch(2, panels_size(n, aligned(ds)));
    float* sums = float_scratch(3, n * aligned(ds));
    const Panels right = pack_rows(x, a.student.stride, n, ds, rows);
    small_gemm(n, ds, n, {student, width, 1}, right, sums, aligned(ds), false);
    small_gemm(n, ds, n, {student, 1, width}, right, sums, aligned(ds), true);
    for (int64_t r = 0; r < n; ++r)
      std::copy_n(sums + r * aligned(ds), ds, a.gradient.row(begin + r) + head * ds);
  }
  return total / static_cast<double>(n);
}

void relation_heads(const RelationArgs& a, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const int64_t s = i / a.num_heads, first = a.rows.cu_seqlens[s], n = a.rows.cu_seqlens[s + 1] - first;
    a.scratch[i] = n > 0 ? relation_of_head(a, first, n, i % a.num_heads) : 0;
  }
}

}  // namespace graft::engine::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace graft::engine::cpu {

HWY_EXPORT(relation_heads);

void relations(const RelationArgs& args) {
  const int64_t heads = args.rows.num_sequences * args.num_heads;
  parallel_blocks(heads, 1, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(relation_heads)(args, begin, end);
  });
  double sum = 0;
  for (int64_t i = 0; i < heads; ++i) {
    sum += args.scratch[i];
    if (args.total) *args.total += args.scratch[i];
  }
  *args.loss = static_cast<float>(sum / args.denominator);
}

}  // namespace graft::engine::cpu
#endif
