// The one place that knows threads: everything above cuts work into blocks, everything below is a
// backend (pool.cpp, openmp.cpp, serial.cpp; one is compiled in). docs/design/0003-threading.md
// records why the pool is the default.
//
// Blocks are cut by the caller from the shape of the problem alone, and must be independent: which
// thread runs which block is not fixed, so this is what makes results equal for every thread count.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace softstep::parallel {

// Serial below this estimated cost, and one more thread for each further multiple of it.
// Measured (docs/design/0003-threading.md, "Threshold"): to wake a parked worker costs the caller
// 7 us and the worker comes 31 us later, so that two threads gain from 38 us on. With a worker
// still spinning they would from 10 us on, but the caller cannot know which it will be.
inline constexpr double kSerialBelowNs = 40'000.0;

inline constexpr int kMaxThreads = 256;

namespace detail {
using Blocks = void (*)(void* body, std::int64_t first, std::int64_t last, int worker);
void run(std::int64_t blocks, double cost_ns, Blocks run_blocks, void* body);
} // namespace detail

// Calls body(block, worker) once for every block in [0, blocks). worker is in [0, num_threads()).
// cost_ns is the estimated time of all blocks on one thread. Runs serially when that is below the
// threshold, inside another region, in a fork of a process that had used threads, and while
// another thread of the process has a region under way. The first exception of a block is rethrown
// here; blocks not yet started may then be left out. The floating-point mode is the default one
// (no flush to zero, round to nearest) inside the body and the caller's again afterwards.
template <class Body> void for_each_block(std::int64_t blocks, double cost_ns, Body&& body) {
  using Plain = std::remove_reference_t<Body>;
  detail::run(
      blocks, cost_ns,
      [](void* context, std::int64_t first, std::int64_t last, int worker) {
        auto& call = *static_cast<Plain*>(context);
        for (std::int64_t block = first; block < last; ++block)
          call(block, worker);
      },
      const_cast<void*>(static_cast<const void*>(std::addressof(body))));
}

// How many scratch areas regions of this thread need, of so many blocks and so long at most. While
// it lives, none has more workers, even if another thread raises the limit meanwhile.
class Reservation {
public:
  Reservation(std::int64_t blocks, double cost_ns);
  ~Reservation();
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;

  int workers() const { return workers_; }

private:
  int workers_, before_;
};

// Reads SOFTSTEP_NUM_THREADS, OMP_NUM_THREADS and the cgroup's CPU quota. Call once, at import.
// Throws std::invalid_argument when SOFTSTEP_NUM_THREADS is not a whole number >= 1.
void initialise();

// An explicit number of threads for the whole process, in [1, kMaxThreads]; it wins over the
// environment and the affinity. 0 = automatic. Throws std::invalid_argument.
void set_limit(int n);
int limit();

// The number a large region would use now: the explicit limit, or else the smallest of
// SOFTSTEP_NUM_THREADS (OMP_NUM_THREADS where it is not set), the CPUs in the calling thread's
// affinity mask and the cgroup's CPU quota.
int num_threads();
const char* num_threads_source(); // "set_num_threads", "SOFTSTEP_NUM_THREADS", "OMP_NUM_THREADS",
                                  // "affinity", "cgroup", "openmp", "serial"
const char* backend();            // "pool", "openmp", "serial"

} // namespace softstep::parallel
