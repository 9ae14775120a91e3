// Denormal numbers (below 1.2e-38) cost a hundred times as much as others and mean nothing to a model: the
// moments of a row that gets no gradient any more decay into them and would stay there for ever (0.9 x rounds
// back to x).
#pragma once
#include <xmmintrin.h>

namespace graft {

// While one lives, this thread reads denormals as zeros and writes zeros for them, and so do the threads that
// help it in parallel_for. The former setting comes back at the end.
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
