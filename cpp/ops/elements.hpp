// Element-wise problems: up to N arrays of one shape, seen as blocks of runs of elements.
#pragma once

#include "kernels/kernels.hpp"
#include "ops/cost.hpp"
#include "ops/sum.hpp"
#include "ops/walk.hpp"
#include "parallel/parallel.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>
#include <vector>

namespace softstep::ops {

enum class Access { kRead, kWrite, kUpdate };

// Arrays of one element type, cut into blocks.
template <class T, std::size_t N> class Elements {
public:
  using Pointers = std::array<T*, N>;
  using Strides = std::array<Size, N>;

  Elements(const Pointers& data, const std::array<Access, N>& access)
      : walk_(bytes(data), items()) {
    for (std::size_t k = 0; k < N; ++k) {
      use_.read[k] = access[k] != Access::kWrite;
      use_.written[k] = access[k] != Access::kRead;
    }
  }

  // In any order; strides are in elements.
  void add_dimension(Size size, Strides strides) {
    for (Size& stride : strides)
      stride *= static_cast<Size>(sizeof(T));
    walk_.add_dimension(size, strides);
  }
  void coalesce() { walk_.coalesce(); } // after the last dimension

  Size size() const { return walk_.size(); }
  Size blocks() const { return (size() + kBlockElements - 1) / kBlockElements; }
  double cost_ns() const {
    return static_cast<double>(size()) * kMapElementNs * static_cast<double>(sizeof(T)) / 4;
  }

  // Calls run(pointers, n) for adjacent runs that cover the block once.
  template <class Run> void run_block(Size block, Run&& run) const {
    const Size begin = block * kBlockElements, end = std::min(size(), begin + kBlockElements);
    walk_.run(begin, end, use_, [&](const typename Walk<N>::Pointers& at, Size, Size n) {
      Pointers pointers;
      for (std::size_t k = 0; k < N; ++k)
        pointers[k] = reinterpret_cast<T*>(at[k]);
      run(std::as_const(pointers), n);
    });
  }

private:
  static typename Walk<N>::Pointers bytes(const Pointers& data) {
    typename Walk<N>::Pointers result;
    for (std::size_t k = 0; k < N; ++k)
      result[k] = reinterpret_cast<char*>(data[k]);
    return result;
  }
  static Strides items() {
    Strides result;
    result.fill(sizeof(T));
    return result;
  }

  Walk<N> walk_;
  typename Walk<N>::Use use_;
};

// The blocks of several problems in one numbering, so that one region runs them all.
class BlockNumbers {
public:
  template <class T, std::size_t N> void add(const Elements<T, N>& elements) {
    ends_.push_back(count() + elements.blocks());
    cost_ns_ += elements.cost_ns();
  }
  Size count() const { return ends_.empty() ? 0 : ends_.back(); }
  double cost_ns() const { return cost_ns_; }

  struct Place {
    std::size_t problem; // in the order of add()
    Size block;          // inside that problem
  };
  Place find(Size block) const {
    const auto end = std::upper_bound(ends_.begin(), ends_.end(), block);
    return {static_cast<std::size_t>(end - ends_.begin()),
            end == ends_.begin() ? block : block - end[-1]};
  }

private:
  std::vector<Size> ends_;
  double cost_ns_ = 0;
};

// The sum of run(pointers, n) over all runs; blocks run in parallel and are added in order.
template <class T, std::size_t N, class Run>
double sum_over_elements(const Elements<T, N>& elements, Run&& run) {
  std::vector<double> sums(static_cast<std::size_t>(elements.blocks()));
  parallel::for_each_block(elements.blocks(), elements.cost_ns(), [&](std::int64_t block, int) {
    double& sum = sums[static_cast<std::size_t>(block)];
    elements.run_block(block, [&](const auto& at, Size n) { sum += run(at, n); });
  });
  return sum_in_order(sums.data(), elements.blocks());
}

} // namespace softstep::ops
