// What Python cannot reach of cpp/parallel: nesting, exceptions, worker numbers, late workers.
// test_parallel.py builds it for every backend, the pool also with ThreadSanitizer.
#include "parallel.hpp"

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace parallel = softstep::parallel;

namespace {

constexpr double kLarge = 1e9; // a cost that is worth every thread

void expect(bool holds, const char* what) {
  if (!holds) {
    std::fprintf(stderr, "failed: %s\n", what);
    std::abort();
  }
}

double value_of(std::int64_t block) {
  double sum = 0;
  for (int i = 0; i < 200; ++i)
    sum += std::sqrt(static_cast<double>(block * 200 + i));
  return sum;
}

// Plain vectors, so that ThreadSanitizer sees a block that runs twice or is not waited for.
void every_block_runs_once(std::int64_t blocks, double cost_ns) {
  std::vector<double> values(static_cast<std::size_t>(blocks), -1);
  std::vector<int> runs(values.size());
  parallel::for_each_block(blocks, cost_ns, [&](std::int64_t block, int) {
    values[static_cast<std::size_t>(block)] = value_of(block);
    ++runs[static_cast<std::size_t>(block)];
  });
  for (std::int64_t block = 0; block < blocks; ++block) {
    expect(runs[static_cast<std::size_t>(block)] == 1, "a block runs once");
    expect(values[static_cast<std::size_t>(block)] == value_of(block), "its result is there");
  }
}

void all_sizes() {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (int threads : {1, 2, 3, 7, 2, 12, 0}) {
    parallel::set_limit(threads);
    for (std::int64_t blocks : {0, 1, 2, 3, 7, 64, 1000})
      for (double cost_ns : {0.0, 1e5, kLarge, nan})
        every_block_runs_once(blocks, cost_ns);
  }
}

// Blocks that sleep give every worker the time to come, whatever the number of cores.
void sleep_in_blocks(int blocks, int workers) {
  parallel::for_each_block(blocks, kLarge, [&](std::int64_t, int worker) {
    expect(worker >= 0 && worker < workers, "worker in range");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
}

void workers_fit_the_scratch_that_was_reserved() {
  parallel::set_limit(3);
  {
    const parallel::Reservation reserved(40, kLarge);
    expect(reserved.workers() == parallel::num_threads(), "room for every thread");
    for (int regions = 0; regions < 3; ++regions) {
      parallel::set_limit(9); // as another Python thread may do meanwhile
      sleep_in_blocks(40, reserved.workers());
    }
    expect(parallel::Reservation(2, kLarge).workers() <= 2, "no more workers than blocks");
    expect(parallel::Reservation(40, 0).workers() == 1, "one is enough for little work");
    sleep_in_blocks(40, reserved.workers());
  }
  const int workers = parallel::Reservation(40, kLarge).workers();
  expect(workers == parallel::num_threads(), "no limit stays behind");
}

void workers_of_a_larger_region_stay_out_of_a_smaller_one() {
  for (int i = 0; i < 20; ++i) {
    parallel::set_limit(9);
    every_block_runs_once(9, kLarge);
    parallel::set_limit(2);
    sleep_in_blocks(8, 2);
  }
}

void nested_regions_are_serial() {
  parallel::set_limit(4);
  for (double cost_ns : {0.0, kLarge}) {
    std::atomic<int> inner{0};
    parallel::for_each_block(20, cost_ns, [&](std::int64_t, int) {
      const auto here = std::this_thread::get_id();
      parallel::for_each_block(20, kLarge, [&](std::int64_t block, int worker) {
        expect(worker == 0 && std::this_thread::get_id() == here, "a nested region stays here");
        inner += value_of(block) >= 0 ? 1 : 0;
      });
      expect(parallel::Reservation(20, kLarge).workers() == 1, "a nested region has one worker");
    });
    expect(inner == 400, "every nested block ran");
  }
}

void exceptions_reach_the_caller() {
  for (int i = 0; i < 200; ++i) {
    std::string caught;
    try {
      parallel::for_each_block(100, i % 2 == 0 ? kLarge : 0.0, [&](std::int64_t block, int) {
        if (value_of(block) >= 0 && block % 10 == i % 10)
          throw std::runtime_error("block " + std::to_string(block));
      });
    } catch (const std::runtime_error& error) {
      caught = error.what();
    }
    expect(caught.rfind("block ", 0) == 0, "an exception is rethrown");
    every_block_runs_once(64, kLarge);
  }
}

void callers_side_by_side() {
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([caller] {
      for (int i = 0; i < 100; ++i) {
        every_block_runs_once(64, kLarge);
        if (caller == 0)
          parallel::set_limit(1 + i % 5);
      }
    });
  for (std::thread& caller : callers)
    caller.join();
}

// With more threads than cores and almost no work, workers wake up when the region is long gone.
void late_workers_find_nothing() {
  parallel::set_limit(8);
  for (int i = 0; i < 5000; ++i) {
    std::atomic<int> runs{0};
    const int blocks = 2 + i % 7;
    parallel::for_each_block(blocks, kLarge, [&](std::int64_t, int) { ++runs; });
    expect(runs == blocks, "every block of a short region ran");
  }
}

void the_float_mode_is_the_default_inside_and_restored() {
#if defined(__x86_64__)
  const unsigned old = _mm_getcsr();
  _mm_setcsr(old | 0x8040 | 0x2000 | 0x20); // FTZ, DAZ, round down, the inexact flag
  const unsigned before = _mm_getcsr();
  parallel::set_limit(3);
  for (double cost_ns : {0.0, kLarge}) {
    parallel::for_each_block(100, cost_ns, [&](std::int64_t block, int) {
      expect(value_of(block) >= 0 && (_mm_getcsr() & ~0x3fu) == 0x1f80, "the default mode");
    });
    expect(_mm_getcsr() == before, "the caller's mode and flags are back");
    try {
      parallel::for_each_block(100, cost_ns, [](std::int64_t, int) { throw 1; });
    } catch (int) {
    }
    expect(_mm_getcsr() == before, "also after an exception");
  }
  _mm_setcsr(old);
#endif
}

} // namespace

int main() {
  parallel::initialise();
  all_sizes();
  workers_fit_the_scratch_that_was_reserved();
  workers_of_a_larger_region_stay_out_of_a_smaller_one();
  nested_regions_are_serial();
  exceptions_reach_the_caller();
  callers_side_by_side();
  late_workers_find_nothing();
  the_float_mode_is_the_default_inside_and_restored();
  std::puts("every check held");
}
