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

// What the body of a loop is: a few instructions, which wait for each other unless the loop is
// unrolled, or long or seldom run. Of that there is one copy, not six: it is most of the code of a
// kernel, and of the time that a compiler takes.
enum class Body { kShort, kLong };

// y[i] = f(i) for begin <= i < end, a vector at a time. f may read y[i]. kNumbers: it is no NaN.
template <bool kNumbers = false, Body kBody = Body::kShort, class S, class F>
SOFTSTEP_INLINE void map_row(S* y, Size begin, Size end, F f) {
  using T = Compute<S>;
  constexpr Size w = kLanes<T>;
  const auto put_vector = [&](Size i) SOFTSTEP_INLINE_LAMBDA {
    if constexpr (kNumbers)
      store_number(y + i, f(i));
    else
      store(y + i, f(i));
  };
  if constexpr (kBody == Body::kLong) {
#pragma GCC unroll 1
    for (Size i = begin; i < end; i += w) {
      const bool whole = i + w <= end;
      const Size at = whole ? i : end - w;
      const Vec<T> v = f(at);
      store(y + at, whole ? v : select<T>(last_lanes<T>(end - i), v, load(y + at)));
    }
  } else {
    Size i = begin;
#pragma GCC unroll 4
    for (; i + w <= end; i += w)
      put_vector(i);
    if (i < end) {
      const Mask<T> rest = last_lanes<T>(end - i);
      store(y + end - w, select<T>(rest, f(end - w), load(y + end - w)));
    }
  }
}

// Four running sums hide the latency of the additions. Named members, handed on by value: GCC keeps
// an array that lambdas share in memory.
template <class T> struct FourSums {
  Vec<T> a{}, b{}, c{}, d{};
  SOFTSTEP_INLINE Vec<T> lanes() const { return (a + b) + (c + d); }
  SOFTSTEP_INLINE T total() const { return reduce<T>(lanes()); }
  // The next of four additions, by two or by four sums: after four, each is in its place again.
  template <bool kFour = true> SOFTSTEP_INLINE void take(Vec<T> v) {
    const Vec<T> next = a + v;
    a = b;
    if constexpr (kFour)
      b = c, c = d, d = next;
    else
      b = next;
  }
};

// Sum of f(i) over begin <= i < end, where f returns a vector. The bits do not depend on the body.
template <class T, Body kBody = Body::kShort, class F>
SOFTSTEP_INLINE Vec<T> sum_lanes_of_row(Size begin, Size end, F f) {
  constexpr Size w = kLanes<T>;
  FourSums<T> sum;
  if constexpr (kBody == Body::kLong) {
    const Size fours = begin + (end - begin) / (4 * w) * (4 * w);
#pragma GCC unroll 1
    for (Size i = begin; i < end; i += w) {
      const bool whole = i + w <= end;
      const Vec<T> v = f(whole ? i : end - w);
      if (i < fours)
        sum.take(v);
      else if (whole)
        sum.a += v;
      else
        sum.b += select<T>(last_lanes<T>(end - i), v, Vec<T>{});
    }
    return sum.lanes();
  }
  Size i = begin;
  for (; i + 4 * w <= end; i += 4 * w) {
    sum.a += f(i);
    sum.b += f(i + w);
    sum.c += f(i + 2 * w);
    sum.d += f(i + 3 * w);
  }
#pragma GCC unroll 1
  for (; i + w <= end; i += w)
    sum.a += f(i);
  if (i < end)
    sum.b += select<T>(last_lanes<T>(end - i), f(end - w), Vec<T>{});
  return sum.lanes();
}

template <class T, Body kBody = Body::kShort, class F>
SOFTSTEP_INLINE T sum_row(Size begin, Size end, F f) {
  return reduce<T>(sum_lanes_of_row<T, kBody>(begin, end, f));
}

template <class S, class T = Compute<S>>
SOFTSTEP_INLINE Vec<T> max_lanes_of_row(const S* x, Size begin, Size end) {
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
  return max(max(a, b), max(c, d));
}
template <class S> SOFTSTEP_INLINE Compute<S> max_row(const S* x, Size begin, Size end) {
  return reduce_max<Compute<S>>(max_lanes_of_row(x, begin, end));
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
  const T found = sum_row<T, Body::kLong>(begin, end, [&](Size i) {
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
