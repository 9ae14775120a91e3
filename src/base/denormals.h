// Arithmetic with denormal numbers (below 1.2e-38) is about a hundred times slower, and such numbers have no
// effect on a model. The moments of a row without gradients decay to denormals and stay there (0.9 x is
// rounded to x).
#pragma once
#include <xmmintrin.h>

namespace graft {

// During its lifetime, this thread and its helpers in parallel_for treat denormals as zeros. The destructor
// restores the previous setting.
class FlushDenormals {
 public:
  FlushDenormals() : before_(_mm_getcsr()) {
    if ((before_ & kFlush) != kFlush) _mm_setcsr(before_ | kFlush);
  }
  ~FlushDenormals() {
    if ((before_ & kFlush) != kFlush) _mm_setcsr(before_);
  }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  static constexpr unsigned kFlush = 0x8040;  // flush to zero, denormals are zero
  unsigned before_;
};

}  // namespace graft
