// bf16 copies of fp32 matrices, and the packed weights that bf16 products read.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/low_precision.cpp"
#include <hwy/foreach_target.h>
// foreach_target comes first
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "base/threads.h"
#include "engine/cpu/cpu_kernels.h"
#include "engine/cpu/gemm.h"
#include "engine/cpu/scratch.h"
#include "engine/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace graft::engine::cpu::HWY_NAMESPACE {

// Round to nearest, ties to even, as float_to_bf16; NaN stays NaN. The bf16 is the upper half of each lane.
HWY_INLINE hn::Vec<hn::RebindToUnsigned<D>> rounded_high(V f) {
  const hn::RebindToUnsigned<D> du;
  const auto u = hn::BitCast(du, f);
  const auto odd = hn::And(hn::ShiftRight<16>(u), hn::Set(du, 1));
  const auto rounded = hn::Add(u, hn::Add(odd, hn::Set(du, 0x7FFF)));
  return hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(f)), hn::Or(u, hn::Set(du, 0x400000)), rounded);
}

void round_row(const float* from, uint16_t* to, int64_t n) {
  const D d;
  const hn::Rebind<uint16_t, D> dh;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::TruncateTo(dh, hn::ShiftRight<16>(rounded_high(hn::LoadU(d, from + i)))), dh, to + i);
  }
  for (; i < n; ++i) to[i] = float_to_bf16(from[i]);
}

// The pairs of two rows whose upper halves are bf16, past the caches: `to` is read in the backward pass only.
template <class U>
HWY_INLINE void stream_pairs(U first, U second, uint32_t* to) {
  const hn::RebindToUnsigned<D> du;
  hn::Stream(hn::Or(hn::ShiftRight<16>(first), hn::And(second, hn::Set(du, 0xFFFF0000u))), du, to);
}

// w[depth, cols] into the order of pairs: two rows interleaved. `to` is aligned to 64 bytes.
void pack_pairs_nn(const float* w, int64_t ld, int64_t depth, int64_t cols, const PairOrder& order,
                   uint32_t* to) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t k = 0; k < depth; k += 2) {
    const float *first = w + k * ld, *second = first + ld;
    for (int64_t n = 0; n < cols; n += order.width) {
      uint32_t* out = to + order.offset(k, n);
      for (int64_t i = 0; i < order.width; i += lanes)
        stream_pairs(rounded_high(hn::LoadU(d, first + n + i)), rounded_high(hn::LoadU(d, second + n + i)),
                     out + i);
    }
  }
  hwy::FlushStream();
}

// Four pairs of each of sixteen rows, transposed as numbers of 32 bits into four cache lines, `step` apart.
HWY_INLINE void transpose_pairs(const uint32_t* from, int64_t ld, uint32_t* to, int64_t step) {
#if HWY_MAX_BYTES >= 64
  constexpr int64_t kBlocks = 4;  // of four rows, in one vector
#else
  constexpr int64_t kBlocks = 1;
#endif
  const hn::FixedTag<uint32_t, 4> d4;
  const hn::FixedTag<uint32_t, 4 * kBlocks> d;
  const hn::Repartition<uint64_t, decltype(d)> d64;
  for (int64_t r = 0; r < kPairBand; r += 4 * kBlocks, to += 4 * kBlocks) {
    const auto row = [&](int64_t i) HWY_ATTR {
      const auto block = [&](int64_t b) HWY_ATTR { return hn::LoadU(d4, from + (r + 4 * b + i) * ld); };
#if HWY_MAX_BYTES >= 64
      const hn::FixedTag<uint32_t, 8> d8;
      return hn::Combine(d, hn::Combine(d8, block(3), block(2)), hn::Combine(d8, block(1), block(0)));
#else
      return block(0);
#endif
    };
    const auto r0 = row(0), r1 = row(1), r2 = row(2), r3 = row(3);
    const auto low01 = hn::BitCast(d64, hn::InterleaveLower(d, r0, r1)),
               low23 = hn::BitCast(d64, hn::InterleaveLower(d, r2, r3)),
               high01 = hn::BitCast(d64, hn::InterleaveUpper(d, r0, r1)),
               high23 = hn::BitCast(d64, hn::InterleaveUpper(d, r2, r3));
    hn::Store(hn::BitCast(d, hn::InterleaveLower(d64, low01, low23)), d, to);
    hn::Store(hn::BitCast(d, hn::InterleaveUpper(d64, low01, low23)), d, to + step);
    hn::Store(hn::BitCast(d, hn::InterleaveLower(d64, high01, high23)), d, to + 2 * step);
    hn::Store(hn::BitCast(d, hn::InterleaveUpper(d64, high01, high23)), d, to + 3 * step);
  }
}

// w[cols, depth], that is the matrix transposed: pairs lie together.
void pack_pairs_nt(const float* w, int64_t ld, int64_t depth, int64_t cols, const PairOrder& order,
                   uint32_t* to) {
  const int64_t pairs = depth / 2;
  auto* buffer = reinterpret_cast<uint32_t*>(float_scratch(5, kPairBand * pairs));
  for (int64_t n = 0; n < cols; n += kPairBand) {
    for (int64_t r = 0; r < kPairBand; ++r)
      round_row(w + (n + r) * ld, reinterpret_cast<uint16_t*>(buffer + r * pairs), depth);
    for (int64_t p = 0; p < pairs; p += 4)
      transpose_pairs(buffer + p, pairs, to + order.offset(2 * p, n), order.width);
  }
}

// Sixteen rows of w in both orders at once: its values are read from memory once.
void pack_pairs_both(const float* w, int64_t ld, int64_t cols, const PairPlace& nt, const PairPlace& nn) {
  const D d;
  const hn::Rebind<uint16_t, D> dh;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), width = nn.order.width;
  HWY_ALIGN uint32_t buffer[kPairBand * kMaxPairWidth / 2];
  const int64_t pairs = width / 2;
  const auto half = [&](int64_t r, int64_t i) { return reinterpret_cast<uint16_t*>(buffer + r * pairs) + i; };
  for (int64_t c = 0; c < cols; c += width) {
    for (int64_t r = 0; r < kPairBand; r += 2) {
      const float *first = w + r * ld + c, *second = first + ld;
      uint32_t* out = nn.pairs + nn.order.offset(nn.k + r, nn.n + c);
      for (int64_t i = 0; i < width; i += lanes) {
        hwy::Prefetch(first + i + width);
        hwy::Prefetch(second + i + width);
        const auto a = rounded_high(hn::LoadU(d, first + i)), b = rounded_high(hn::LoadU(d, second + i));
        stream_pairs(a, b, out + i);
        hn::StoreU(hn::TruncateTo(dh, hn::ShiftRight<16>(a)), dh, half(r, i));
        hn::StoreU(hn::TruncateTo(dh, hn::ShiftRight<16>(b)), dh, half(r + 1, i));
      }
    }
    for (int64_t p = 0; p < pairs; p += 4)
      transpose_pairs(buffer + p, pairs, nt.pairs + nt.order.offset(nt.k + c + 2 * p, nt.n), nt.order.width);
  }
  hwy::FlushStream();
}

// An 8 x 8 block: to[c * ld_to + r] = from[r * ld_from + c].
HWY_INLINE void transpose_block(const uint16_t* from, int64_t ld_from, uint16_t* to, int64_t ld_to) {
  const hn::FixedTag<uint16_t, 8> d16;
  const hn::Repartition<uint32_t, decltype(d16)> d32;
  const hn::Repartition<uint64_t, decltype(d16)> d64;
  const auto row = [&](int64_t r) HWY_ATTR { return hn::LoadU(d16, from + r * ld_from); };
  const auto pair_low = [&](auto a, auto b)
                            HWY_ATTR { return hn::BitCast(d32, hn::InterleaveLower(d16, a, b)); };
  const auto pair_high = [&](auto a, auto b)
                             HWY_ATTR { return hn::BitCast(d32, hn::InterleaveUpper(d16, a, b)); };
  const auto r0 = row(0), r1 = row(1), r2 = row(2), r3 = row(3), r4 = row(4), r5 = row(5), r6 = row(6),
             r7 = row(7);
  const auto l01 = pair_low(r0, r1), l23 = pair_low(r2, r3), l45 = pair_low(r4, r5), l67 = pair_low(r6, r7);
  const auto h01 = pair_high(r0, r1), h23 = pair_high(r2, r3), h45 = pair_high(r4, r5),
             h67 = pair_high(r6, r7);
  // Columns c and c + 1 of four rows each, joined to eight.
  const auto put = [&](int64_t c, auto upper, auto lower) HWY_ATTR {
    const auto a = hn::BitCast(d64, upper), b = hn::BitCast(d64, lower);
    hn::StoreU(hn::BitCast(d16, hn::InterleaveLower(d64, a, b)), d16, to + c * ld_to);
    hn::StoreU(hn::BitCast(d16, hn::InterleaveUpper(d64, a, b)), d16, to + (c + 1) * ld_to);
  };
  put(0, hn::InterleaveLower(d32, l01, l23), hn::InterleaveLower(d32, l45, l67));
  put(2, hn::InterleaveUpper(d32, l01, l23), hn::InterleaveUpper(d32, l45, l67));
  put(4, hn::InterleaveLower(d32, h01, h23), hn::InterleaveLower(d32, h45, h67));
  put(6, hn::InterleaveUpper(d32, h01, h23), hn::InterleaveUpper(d32, h45, h67));
}

// [rows, cols] transposed; rows is a multiple of 8.
void transpose_rows(const uint16_t* from, int64_t ld_from, int64_t rows, int64_t cols, uint16_t* to,
                    int64_t ld_to) {
  int64_t c = 0;
  for (; c + 8 <= cols; c += 8) {
    for (int64_t r = 0; r < rows; r += 8)
      transpose_block(from + r * ld_from + c, ld_from, to + c * ld_to + r, ld_to);
  }
  for (; c < cols; ++c) {
    for (int64_t r = 0; r < rows; ++r) to[c * ld_to + r] = from[r * ld_from + c];
  }
}

}  // namespace graft::engine::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace graft::engine::cpu {

HWY_EXPORT(round_row);
HWY_EXPORT(transpose_rows);
HWY_EXPORT(pack_pairs_nn);
HWY_EXPORT(pack_pairs_nt);
HWY_EXPORT(pack_pairs_both);

void pack_pairs(const float* w, int64_t ld, bool nt, int64_t depth, int64_t cols, const PairOrder& order,
                void* to) {
  auto* pairs = static_cast<uint32_t*>(to);
  if (nt)
    HWY_DYNAMIC_DISPATCH(pack_pairs_nt)(w, ld, depth, cols, order, pairs);
  else
    HWY_DYNAMIC_DISPATCH(pack_pairs_nn)(w, ld, depth, cols, order, pairs);
}

void pack_pairs_both(const float* w, int64_t ld, int64_t cols, const PairPlace& nt, const PairPlace& nn) {
  HWY_DYNAMIC_DISPATCH(pack_pairs_both)(w, ld, cols, nt, nn);
}

void round_to_bf16(const float* from, uint16_t* to, int64_t n) {
  HWY_DYNAMIC_DISPATCH(round_row)(from, to, n);
}

void transpose_into_panels(Tensor from, int64_t begin, int64_t end, uint16_t* panels) {
  const int64_t T = padded_rows(from.rows), N = from.cols;
  for (int64_t t = begin; t < end;) {
    const int64_t panel = t / kGradDepth * kGradDepth, width = std::min(kGradDepth, T - panel),
                  last = std::min(end, panel + width);
    HWY_DYNAMIC_DISPATCH(transpose_rows)
    (static_cast<const uint16_t*>(from.data) + t * from.stride, from.stride, last - t, N,
     panels + panel * N + t - panel, width);
    t = last;
  }
}

void to_bf16(Tensor from, Tensor to) {
  parallel_blocks(from.rows, 32, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) round_to_bf16(from.row(r), bf16_row(to, r), from.cols);
  });
  clear_padding(to);
}

void clear_padding(Tensor copy) {
  if (!copy) return;
  const int64_t rest = padded_rows(copy.rows) - copy.rows;
  std::memset(bf16_row(copy, copy.rows), 0, static_cast<size_t>(rest * copy.stride) * 2);
}

}  // namespace graft::engine::cpu
#endif
