// The part of for_each_block that no backend changes: serial or parallel, nesting, concurrent
// callers, fork, exceptions and the floating-point mode.
#include "region.hpp"

#include "float_mode.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace softstep::parallel {
namespace {

thread_local bool inside_region = false;
thread_local int reserved_workers = kMaxThreads; // no region of this thread has more

std::atomic<bool> region_under_way{false};
std::atomic<bool> forked{false};

// In a forked child the workers do not exist and a lock may be held by a thread that is gone.
void watch_for_fork() {
#if !defined(_WIN32)
  static const int registered =
      pthread_atfork(nullptr, nullptr, [] { forked.store(true, std::memory_order_relaxed); });
  static_cast<void>(registered);
#endif
}

int worthwhile_threads(std::int64_t blocks, double cost_ns) {
  // Written so that a NaN cost means serial. The pool counts blocks in 32 bits.
  if (blocks < 2 || blocks > std::numeric_limits<std::uint32_t>::max() ||
      !(cost_ns >= kSerialBelowNs) || inside_region || forked.load(std::memory_order_relaxed))
    return 1;
  int threads = std::min(num_threads(), reserved_workers);
  threads = static_cast<int>(std::min<std::int64_t>(threads, blocks));
  return static_cast<int>(std::min<double>(threads, 1.0 + cost_ns / kSerialBelowNs));
}

} // namespace

namespace detail {

WorkerScope::WorkerScope()
    : mode_(set_default_float_mode()), was_inside_(std::exchange(inside_region, true)) {}

WorkerScope::~WorkerScope() {
  inside_region = was_inside_;
  restore_float_mode(mode_);
}

void Region::run(std::int64_t first, std::int64_t last, int worker) noexcept {
  try {
    run_blocks(body, first, last, worker);
  } catch (...) {
    if (!failed.test_and_set())
      error = std::current_exception();
  }
}

void run(std::int64_t blocks, double cost_ns, Blocks run_blocks, void* body) {
  const int threads = worthwhile_threads(blocks, cost_ns);
  if (blocks <= 0)
    return;
  if (threads > 1 && !region_under_way.exchange(true, std::memory_order_acquire)) {
    watch_for_fork();
    Region region{run_blocks, body, blocks};
    run_on_threads(threads, region);
    region_under_way.store(false, std::memory_order_release);
    if (region.error)
      std::rethrow_exception(region.error);
    return;
  }
  const WorkerScope scope;
  run_blocks(body, 0, blocks, 0);
}

} // namespace detail

Reservation::Reservation(std::int64_t blocks, double cost_ns)
    : workers_(worthwhile_threads(blocks, cost_ns)),
      before_(std::exchange(reserved_workers, workers_)) {}

Reservation::~Reservation() { reserved_workers = before_; }

const char* backend() { return detail::backend_name(); }

} // namespace softstep::parallel
