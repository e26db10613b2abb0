// The sum over rows: in double, in an order that depends on nothing but the number of rows.
#pragma once

#include "kernels/kernels.hpp"

namespace softstep::ops {

namespace detail {
// Independent additions hide their latency.
template <class T> double sum_block(const T* values, Size n) {
  constexpr Size kSums = 8;
  double sums[kSums] = {};
  Size i = 0;
  for (; i + kSums <= n; i += kSums)
    for (Size k = 0; k < kSums; ++k)
      sums[k] += static_cast<double>(values[i + k]);
  for (; i < n; ++i)
    sums[0] += static_cast<double>(values[i]);
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}
} // namespace detail

// By halves down to a block, so that the error grows with the logarithm of n.
template <class T> double sum_in_order(const T* values, Size n) {
  constexpr Size kBlock = 256;
  if (n <= kBlock)
    return detail::sum_block(values, n);
  const Size half = n / 2 / kBlock * kBlock + (n / 2 < kBlock ? kBlock : 0);
  return sum_in_order(values, half) + sum_in_order(values + half, n - half);
}

} // namespace softstep::ops
