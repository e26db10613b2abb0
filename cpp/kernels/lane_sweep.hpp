// One row per lane: the classes of a group of adjacent rows lie `stride` elements apart. All
// arithmetic is vertical, so there are no horizontal reductions and no per-row scalars.
#pragma once

#include "kernels.hpp"
#include "logit_shift.hpp"
#include "storage.hpp"

namespace softstep::KERNEL_ISA {
namespace {

// The rows of one vector; the last group of a block may hold fewer.
template <class T, bool kWhole> struct LaneGroup {
  Size first, count;

  template <class S> SOFTSTEP_INLINE Vec<T> load_from(const S* row_values) const {
    if constexpr (kWhole)
      return load(row_values + first);
    else
      return partial_load(row_values + first, count);
  }
  template <class S> SOFTSTEP_INLINE Vec<T> load_class(Matrix<const S> m, Size c) const {
    return load_from(m.data + c * m.stride);
  }
  template <class S> SOFTSTEP_INLINE void store_to(S* row_values, Vec<T> v) const {
    if constexpr (kWhole)
      store(row_values + first, v);
    else
      partial_store(row_values + first, count, v);
  }
  template <class S> SOFTSTEP_INLINE void store_class(Matrix<S> m, Size c, Vec<T> v) const {
    store_to(m.data + c * m.stride, v);
  }
};

// f is generic: it is compiled for whole groups and for the partial one at the end.
template <class T, class F> SOFTSTEP_INLINE void for_each_group(Size rows, F f) {
  constexpr Size w = kLanes<T>;
  Size row = 0;
  for (; row + w <= rows; row += w)
    f(LaneGroup<T, true>{row, w});
  if (row < rows)
    f(LaneGroup<T, false>{row, rows - row});
}

struct NoStart {
  SOFTSTEP_INLINE void operator()(Size, Size) const {}
};

// f(c) for every class, in chunks: start(begin, end) before each, fold() between them, where the
// sums below take stock.
constexpr Size kClassChunk = 32;
template <class F, class Fold, class Start = NoStart>
SOFTSTEP_INLINE void for_each_class(Size cols, F f, Fold fold, Start start = {}) {
  for (Size begin = 0;;) {
    const Size end = cols - begin < kClassChunk ? cols : begin + kClassChunk;
    start(begin, end);
    for (Size c = begin; c < end; ++c)
      f(c);
    if (end == cols)
      return;
    begin = end;
    fold();
  }
}

// Fetches some classes of rows that come later: prefetchers do not follow as many planes as there
// are classes. GCC drops the call of a function that does nothing else, so it has to be inlined.
constexpr Size kFetchedRows = 64;
template <class S> constexpr bool kToWrite = true;
template <class S> constexpr bool kToWrite<const S> = false;
template <class Group, class S>
SOFTSTEP_INLINE void fetch_ahead(Group group, Matrix<S> m, Size begin, Size end) {
  for (Size c = begin; c < end; ++c)
    __builtin_prefetch(m.data + c * m.stride + group.first + kFetchedRows, kToWrite<S>);
}

// A sum over the classes whose error does not grow with their number: plain inside a chunk, with
// the rounding errors kept from chunk to chunk.
template <class T> struct LaneSum {
  Vec<T> chunk{}, folded{}, lost{};

  SOFTSTEP_INLINE void operator+=(Vec<T> v) { chunk += v; }
  SOFTSTEP_INLINE void fold() {
    const Vec<T> sum = folded + chunk, added = sum - folded;
    lost += (folded - (sum - added)) + (chunk - added);
    folded = sum;
    chunk = Vec<T>{};
  }
  // Infinite and NaN sums have no rounding error, only a NaN in its place.
  SOFTSTEP_INLINE Vec<T> total() const {
    return folded + (chunk + select<T>(lost == lost, lost, Vec<T>{}));
  }
};

// By two, so that the latency of one maximum hides that of the other.
template <class T, class Group, class S>
SOFTSTEP_INLINE Vec<T> max_lanes(Group group, Matrix<const S> x, Size cols) {
  Vec<T> top = broadcast<T>(-kInfinity<T>), odd = top;
  Size c = 0;
  for (; c + 2 <= cols; c += 2) {
    top = max(group.load_class(x, c), top);
    odd = max(group.load_class(x, c + 1), odd);
  }
  if (c < cols)
    top = max(group.load_class(x, c), top);
  return max(top, odd);
}

// Rows whose maximum is +inf and that hold no NaN: their sum is NaN, but relative to the infinity
// its logarithm is 0.
template <class T, class Group, class S>
SOFTSTEP_INLINE Mask<T> infinite_lanes(Group group, Matrix<const S> x, Size cols, Vec<T> top) {
  Mask<T> infinite = top == kInfinity<T>;
  if (any<T>(infinite)) {
    for (Size c = 0; c < cols; ++c) {
      const Vec<T> v = group.load_class(x, c);
      infinite &= v == v;
    }
  }
  return infinite;
}

// The maximum to subtract: 0 for rows that are -inf throughout, so that exp gives 0, not NaN.
template <class T> SOFTSTEP_INLINE Vec<T> finite_reference(Vec<T> top) {
  return select<T>(top == -kInfinity<T>, Vec<T>{}, top);
}

} // namespace
} // namespace softstep::KERNEL_ISA
