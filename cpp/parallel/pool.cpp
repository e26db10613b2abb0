// Backend "pool": threads of our own that park a few microseconds after their last block, so that
// they leave the cores to BLAS (docs/design/0003-threading.md).
//
// A region is a descriptor plus one atomic word, "share": how many blocks nobody has taken yet and
// how many threads may take some. To take blocks is to lower that word. Only who has taken blocks
// reads the descriptor, and the caller waits only for blocks that were taken; so a worker that
// wakes up late takes nothing, touches nothing, and nobody waits for it.
//
// All state is static and trivially destroyed, and workers are detached: at exit there is nothing
// to join and nothing that a parked worker could miss.
#if defined(SOFTSTEP_PARALLEL_POOL)
#include "region.hpp"

#include "pool_threads.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <thread>

namespace softstep::parallel::detail {
namespace {

using Clock = std::chrono::steady_clock;

// A worker that waits this long before it parks catches the next call of a Python loop at 1 us
// instead of 31 us. Measured: docs/design/0003-threading.md, "Spin".
constexpr auto kWorkerSpin = std::chrono::microseconds(50);
constexpr auto kCallerSpin = std::chrono::microseconds(20);

struct alignas(64) Worker {
  std::atomic<std::uint32_t> calls{0}; // a futex: the worker parks while this has its old value
};

struct Share {
  std::uint32_t threads;
  std::uint32_t blocks;
  std::uint64_t packed() const { return std::uint64_t{threads} << 32 | blocks; }
  static Share of(std::uint64_t word) {
    return {static_cast<std::uint32_t>(word >> 32), static_cast<std::uint32_t>(word)};
  }
};

alignas(64) std::atomic<std::uint64_t> share{0};
alignas(64) std::atomic<std::uint32_t> unfinished{0}; // a futex: the caller waits for 0
Region* current = nullptr;                            // published by share
std::array<Worker, kMaxThreads> workers;              // [0] is the caller's place, never parked
int started = 1;                                      // places taken; guarded by the front

// Yields in every turn: any other thread that wants this core, BLAS's above all, has it at once.
template <class Done> void spin(std::chrono::nanoseconds limit, Done done) {
  const auto end = Clock::now() + limit;
  while (!done() && Clock::now() < end)
    std::this_thread::yield();
}

// Runs blocks until none is left to take; returns how many.
std::uint32_t take_blocks(int worker) {
  std::uint32_t taken = 0;
  std::uint64_t word = share.load(std::memory_order_relaxed);
  for (;;) {
    const Share now = Share::of(word);
    if (now.blocks == 0 || static_cast<std::uint32_t>(worker) >= now.threads)
      return taken;
    const auto count = static_cast<std::uint32_t>(piece(now.blocks, static_cast<int>(now.threads)));
    const Share rest{now.threads, now.blocks - count};
    if (!share.compare_exchange_weak(word, rest.packed(), std::memory_order_acquire,
                                     std::memory_order_relaxed))
      continue;
    const std::int64_t first = current->blocks - now.blocks;
    current->run(first, first + count, worker);
    taken += count;
    word = share.load(std::memory_order_relaxed);
  }
}

void work(int index) {
  std::atomic<std::uint32_t>& calls = workers[static_cast<std::size_t>(index)].calls;
  for (;;) {
    const std::uint32_t seen = calls.load(std::memory_order_acquire);
    std::uint32_t taken = 0;
    {
      const WorkerScope scope;
      taken = take_blocks(index);
    }
    // From here on the region may be gone.
    if (taken > 0 && unfinished.fetch_sub(taken, std::memory_order_acq_rel) == taken)
      unfinished.notify_one();
    spin(kWorkerSpin, [&] { return calls.load(std::memory_order_relaxed) != seen; });
    calls.wait(seen, std::memory_order_acquire);
  }
}

} // namespace

void run_on_threads(int threads, Region& region) {
  follow_affinity();
  while (started < threads && start_thread(work, started)) // fewer if the system gives no more
    ++started;
  const auto blocks = static_cast<std::uint32_t>(region.blocks);
  current = &region;
  unfinished.store(blocks, std::memory_order_relaxed);
  share.store(Share{static_cast<std::uint32_t>(threads), blocks}.packed(),
              std::memory_order_release);
  for (int index = 1; index < std::min(threads, started); ++index) {
    std::atomic<std::uint32_t>& calls = workers[static_cast<std::size_t>(index)].calls;
    calls.fetch_add(1, std::memory_order_release);
    calls.notify_one();
  }
  std::uint32_t taken = 0;
  {
    const WorkerScope scope;
    taken = take_blocks(0);
  }
  std::uint32_t left = unfinished.fetch_sub(taken, std::memory_order_acq_rel) - taken;
  if (left == 0)
    return;
  // Then sleep: the worker that has the last blocks may be waiting for this very core.
  spin(kCallerSpin, [&] { return (left = unfinished.load(std::memory_order_acquire)) == 0; });
  while (left != 0) {
    unfinished.wait(left, std::memory_order_acquire);
    left = unfinished.load(std::memory_order_acquire);
  }
}

int backend_max_threads() { return kMaxThreads; }
const char* backend_name() { return "pool"; }

} // namespace softstep::parallel::detail
#endif
