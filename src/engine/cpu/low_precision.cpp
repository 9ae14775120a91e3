// bf16 copies of fp32 matrices, and the packed weights that bf16 products read.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/low_precision.cpp"
#include <hwy/foreach_target.h>
// foreach_target comes first
#include <hwy/highway.h>

#include <cstring>

#include "base/threads.h"
#include "engine/cpu/cpu_kernels.h"
#include "engine/cpu/gemm.h"
#include "engine/cpu/simd-inl.h"
#include "engine/parameters.h"

HWY_BEFORE_NAMESPACE();
namespace graft::engine::cpu::HWY_NAMESPACE {

// Round to nearest, ties to even, as float_to_bf16; NaN stays NaN.
void round_row(const float* from, uint16_t* to, int64_t n) {
  const D d;
  const hn::RebindToUnsigned<D> du;
  const hn::Rebind<uint16_t, D> dh;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const V f = hn::LoadU(d, from + i);
    const auto u = hn::BitCast(du, f);
    const auto odd = hn::And(hn::ShiftRight<16>(u), hn::Set(du, 1));
    const auto rounded = hn::ShiftRight<16>(hn::Add(u, hn::Add(odd, hn::Set(du, 0x7FFF))));
    const auto quiet = hn::Or(hn::ShiftRight<16>(u), hn::Set(du, 0x40));
    const auto out = hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(f)), quiet, rounded);
    hn::StoreU(hn::TruncateTo(dh, out), dh, to + i);
  }
  for (; i < n; ++i) to[i] = float_to_bf16(from[i]);
}

}  // namespace graft::engine::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace graft::engine::cpu {

HWY_EXPORT(round_row);

void to_bf16(Tensor from, Tensor to) {
  parallel_blocks(from.rows, 32, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      HWY_DYNAMIC_DISPATCH(round_row)
      (from.row(r), static_cast<uint16_t*>(to.data) + r * to.stride, from.cols);
    }
  });
  const int64_t rest = padded_rows(from.rows) - from.rows;
  std::memset(static_cast<uint16_t*>(to.data) + from.rows * to.stride, 0,
              static_cast<size_t>(rest * to.stride) * 2);
}

const void* packed_weights(ParameterStore& store, const Parameter& first, int count, Tensor w,
                           bool transposed) {
  const std::lock_guard lock(store.derived_mutex());
  Derived& entry = store.derived(first, count, transposed ? 1 : 0);
  if (!entry.data) entry.data = std::make_shared<PackedMatrix>();
  auto* packed = static_cast<PackedMatrix*>(entry.data.get());
  if (packed->unset() || entry.version != store.version()) {
    packed->pack(w, transposed ? Layout::nn : Layout::nt, DType::bf16);
    entry.version = store.version();
  }
  return packed;
}

}  // namespace graft::engine::cpu
#endif
