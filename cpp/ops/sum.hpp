// The sum over rows: in double, in an order that depends on nothing but the number of rows.
#pragma once

#include "kernels/kernels.hpp"

namespace softstep::ops {

template <class T> double sum_in_order(const T* values, Size n) {
  constexpr Size kSums = 8; // independent additions hide their latency
  double sums[kSums] = {};
  Size i = 0;
  for (; i + kSums <= n; i += kSums)
    for (Size k = 0; k < kSums; ++k)
      sums[k] += static_cast<double>(values[i + k]);
  for (; i < n; ++i)
    sums[0] += static_cast<double>(values[i]);
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

} // namespace softstep::ops
