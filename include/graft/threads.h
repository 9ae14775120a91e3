// The number of threads that graft computes with. Results do not depend on it, bit for bit.
#pragma once
#include "graft/export.h"

namespace graft {

// Threads of the calls from this thread; default: OMP_NUM_THREADS, or one for each CPU that the process may
// use (its affinity mask, and the CPU quota of its control group, rounded up).
GRAFT_API int num_threads();
// Sets it for this thread (n >= 1); 0 restores the default.
GRAFT_API void set_num_threads(int n);

}  // namespace graft
