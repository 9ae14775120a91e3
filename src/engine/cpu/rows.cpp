// Rows picked and rows added: gather, and the scatter that is its gradient, in a fixed order.
#include <cstring>

#include "base/threads.h"
#include "engine/cpu/cpu_kernels.h"

namespace graft::engine::cpu {

void gather(Tensor x, const int32_t* rows, Tensor y) {
  parallel_blocks(y.rows, 64, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      std::memcpy(y.row(r), x.row(rows[r]), static_cast<size_t>(y.cols) * sizeof(float));
    }
  });
}

void put_rows(Tensor x, const int64_t* rows, Tensor y) {
  parallel_blocks(x.rows, 64, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      std::memcpy(y.row(rows[r]), x.row(r), static_cast<size_t>(x.cols) * sizeof(float));
  });
}

void scatter(const ScatterArgs& args) {
  const int64_t H = args.grad.cols;
  parallel_blocks(args.num_unique, 16, [&](int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; ++u) {
      float* out = args.out + args.ids[u] * H;
      for (int32_t i = args.start[u]; i < args.start[u + 1]; ++i) {
        const float* from = args.grad.row(args.order[i]);
        for (int64_t c = 0; c < H; ++c) out[c] += from[c];
      }
    }
  });
}

}  // namespace graft::engine::cpu
