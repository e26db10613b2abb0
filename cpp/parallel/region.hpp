// What the front (parallel.cpp) and a backend share: one region of blocks under way.
#pragma once

#include "parallel.hpp"

#include <atomic>
#include <exception>

namespace softstep::parallel::detail {

struct Region {
  Blocks run_blocks;
  void* body;
  std::int64_t blocks;
  std::exception_ptr error{};
  std::atomic_flag failed{};

  // Never throws: an exception that leaves a worker would end the process.
  void run(std::int64_t first, std::int64_t last, int worker) noexcept;
};

// Marks the thread as inside a region and gives it the default floating-point mode.
class WorkerScope {
public:
  WorkerScope();
  ~WorkerScope();
  WorkerScope(const WorkerScope&) = delete;
  WorkerScope& operator=(const WorkerScope&) = delete;

private:
  std::uint64_t mode_;
  bool was_inside_;
};

// Guided sharing: large pieces first (few atomics, contiguous memory), single blocks at the end.
inline std::int64_t piece(std::int64_t remaining, int threads) {
  const std::int64_t share = remaining / (4 * std::int64_t{threads});
  return share > 0 ? share : 1;
}

// The backend. Called by one thread at a time, never in a forked child; threads >= 2.
void run_on_threads(int threads, Region& region);
int backend_max_threads(); // what the backend's own runtime allows now
const char* backend_name();

} // namespace softstep::parallel::detail
