// A Collective of threads in one process.
#pragma once
#include <condition_variable>
#include <functional>
#include <mutex>

#include "engine/collective.h"

namespace graft::test {

// Runs f(rank's collective) on `size` threads and waits. Rethrows the first exception of a rank after all
// have ended.
void run_ranks(int size, const std::function<void(engine::Collective&)>& f);

}  // namespace graft::test
