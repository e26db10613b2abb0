// Loops over one row whose classes are adjacent. A row has at least one vector of classes: shorter
// rows go to the lane shape. The last, partial vector is always the one that ends where the row
// ends, with the lanes that were already done masked out; so nothing outside the row is touched.
#pragma once

#include "storage.hpp"

namespace softstep::KERNEL_ISA {
namespace {

// A row is swept in blocks that stay in the first-level cache between the search for their maximum
// and their exponentials. Very long rows get longer blocks, so that their maxima fit on the stack.
constexpr Size kBlock = 1024;
constexpr Size kMaxBlocks = 512;

struct RowBlocks {
  Size size, count, cols;
  Size begin(Size block) const { return block * size; }
  Size end(Size block) const { return block + 1 == count ? cols : (block + 1) * size; }
};

SOFTSTEP_INLINE RowBlocks cut_row(Size cols) {
  Size size = kBlock;
  while (size * kMaxBlocks <= cols)
    size *= 2;
  return {size, cols < size ? 1 : cols / size, cols};
}

template <class T> SOFTSTEP_INLINE Mask<T> last_lanes(Size n) {
  return lane_index<T>() >= static_cast<typename LaneInt<T>::type>(kLanes<T> - n);
}

// y[i] = f(i) for begin <= i < end, a vector at a time. f may read y[i]. kNumbers: it is no NaN.
template <bool kNumbers = false, class S, class F>
SOFTSTEP_INLINE void map_row(S* y, Size begin, Size end, F f) {
  using T = Compute<S>;
  constexpr Size w = kLanes<T>;
  Size i = begin;
#pragma GCC unroll 4
  for (; i + w <= end; i += w) {
    if constexpr (kNumbers)
      store_number(y + i, f(i));
    else
      store(y + i, f(i));
  }
  if (i < end) {
    const Mask<T> rest = last_lanes<T>(end - i);
    store(y + end - w, select<T>(rest, f(end - w), load(y + end - w)));
  }
}

// Four running sums hide the latency of the additions. Named members, handed on by value: GCC keeps
// an array that lambdas share in memory.
template <class T> struct FourSums {
  Vec<T> a{}, b{}, c{}, d{};
  SOFTSTEP_INLINE T total() const { return reduce<T>((a + b) + (c + d)); }
};

// Sum of f(i) over begin <= i < end, where f returns a vector.
template <class T, class F> SOFTSTEP_INLINE T sum_row(Size begin, Size end, F f) {
  constexpr Size w = kLanes<T>;
  FourSums<T> sum;
  Size i = begin;
  for (; i + 4 * w <= end; i += 4 * w) {
    sum.a += f(i);
    sum.b += f(i + w);
    sum.c += f(i + 2 * w);
    sum.d += f(i + 3 * w);
  }
  for (; i + w <= end; i += w)
    sum.a += f(i);
  if (i < end)
    sum.b += select<T>(last_lanes<T>(end - i), f(end - w), Vec<T>{});
  return sum.total();
}

template <class S> SOFTSTEP_INLINE Compute<S> max_row(const S* x, Size begin, Size end) {
  using T = Compute<S>;
  constexpr Size w = kLanes<T>;
  Vec<T> a = broadcast<T>(-kInfinity<T>), b = a, c = a, d = a;
  Size i = begin;
  for (; i + 4 * w <= end; i += 4 * w) {
    a = max(load(x + i), a);
    b = max(load(x + i + w), b);
    c = max(load(x + i + 2 * w), c);
    d = max(load(x + i + 3 * w), d);
  }
  for (; i + w <= end; i += w)
    a = max(load(x + i), a);
  if (i < end)
    b = max(load(x + end - w), b);
  return reduce_max<T>(max(max(a, b), max(c, d)));
}

// The first class that has the value, which one has.
template <class S>
SOFTSTEP_INLINE Size index_of(Compute<S> value, const S* x, Size begin, Size end) {
  using T = Compute<S>;
  Size i = begin;
  while (i + kLanes<T> < end && !any<T>(load(x + i) == value))
    i += kLanes<T>;
  while (static_cast<T>(get(x + i)) != value)
    ++i;
  return i;
}

template <class S> bool has_nan(const S* x, Size begin, Size end) {
  using T = Compute<S>;
  const T found = sum_row<T>(begin, end, [&](Size i) {
    const Vec<T> v = load(x + i);
    return select<T>(v == v, Vec<T>{}, v);
  });
  return found != found;
}

// The lanes of the vector at `at` but for the class `hole` (or -1).
template <class T> SOFTSTEP_INLINE Mask<T> without_hole(Size hole, Size at) {
  const Size lane = hole < 0 ? -1 : hole - at;
  return lane_index<T>() != static_cast<typename LaneInt<T>::type>(lane);
}

} // namespace
} // namespace softstep::KERNEL_ISA
