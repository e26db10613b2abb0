// Backend "openmp": whatever OpenMP runtime the process has. With libgomp's default settings its
// threads spin for milliseconds after a region and fight with BLAS's: see
// docs/design/0003-threading.md.
#if defined(SOFTSTEP_PARALLEL_OPENMP)
#include "region.hpp"

#include <omp.h>

namespace softstep::parallel::detail {

void run_on_threads(int threads, Region& region) {
  std::atomic<std::int64_t> next{0};
  // No num_threads clause: one that varies makes libgomp end and start threads, and it would
  // override a limit that threadpoolctl has set. Threads above the number wanted take nothing.
#pragma omp parallel
  {
    const int worker = omp_get_thread_num();
    if (worker < threads) {
      const WorkerScope scope;
      std::int64_t first = next.load(std::memory_order_relaxed);
      while (first < region.blocks) {
        const std::int64_t last = first + piece(region.blocks - first, threads);
        if (next.compare_exchange_weak(first, last, std::memory_order_relaxed)) {
          region.run(first, last, worker);
          first = next.load(std::memory_order_relaxed);
        }
      }
    }
  }
}

// Inside another library's OpenMP region this thread must not start one of its own.
int backend_max_threads() { return omp_in_parallel() ? 1 : omp_get_max_threads(); }
const char* backend_name() { return "openmp"; }

} // namespace softstep::parallel::detail
#endif
