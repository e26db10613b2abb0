// Blocks that stay with a worker from call to call, so that its cache still has them: each worker
// takes those of its own share first, then others'. Only for blocks whose order does not matter.
#pragma once

#include "parallel.hpp"

#include <atomic>
#include <cstddef>
#include <memory>

namespace softstep::parallel {

class NearBlocks {
public:
  NearBlocks() : shares_(new Share[kMaxThreads]) {}

  // As for_each_block; `backwards` after a pass forwards finds its last blocks in the cache.
  template <class Body>
  void for_each(std::int64_t blocks, double cost_ns, bool backwards, Body&& body) {
    const Reservation reserved(blocks, cost_ns);
    workers_ = reserved.workers();
    for (int w = 0; w < workers_; ++w) {
      Share& share = shares_[at(w)];
      share.begin = blocks * w / workers_;
      share.end = blocks * (w + 1) / workers_;
      share.next.store(share.begin, std::memory_order_relaxed);
    }
    for_each_block(blocks, cost_ns,
                   [&](std::int64_t, int worker) { body(take(worker, backwards), worker); });
  }

private:
  struct alignas(64) Share {
    std::atomic<std::int64_t> next{0};
    std::int64_t begin = 0, end = 0;
  };
  static std::size_t at(int worker) { return static_cast<std::size_t>(worker); }

  // Is called once for each block, so there always is one.
  std::int64_t take(int worker, bool backwards) {
    for (int w = worker;; w = (w + 1) % workers_) {
      Share& share = shares_[at(w)];
      if (share.next.load(std::memory_order_relaxed) >= share.end)
        continue;
      const std::int64_t block = share.next.fetch_add(1, std::memory_order_relaxed);
      if (block < share.end)
        return backwards ? share.begin + share.end - 1 - block : block;
    }
  }

  std::unique_ptr<Share[]> shares_;
  int workers_ = 1;
};

} // namespace softstep::parallel
