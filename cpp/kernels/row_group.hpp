// Rows of middling length, their classes adjacent, in groups of as many as a vector has lanes. What
// is done for each class has its lanes along a row; what is done once for a row, logarithm and
// divisions, is done for all rows of a group at once, a row a lane.
#pragma once

#include "fold_rows.hpp"
#include "lane_sweep.hpp"
#include "row_sweep.hpp"

namespace softstep::KERNEL_ISA {
namespace {

// The exponentials of all groups under way stay in the first-level cache from sweep to sweep.
constexpr Size kGroupBytes = 16384, kFewestRows = 4;
// Of all groups under way: what is fetched is of the next ones, whose maxima are searched at once.
template <class T> constexpr Size kGroupElements = kGroupBytes / static_cast<Size>(sizeof(T));
// Longer rows do not feel what is done once for each.
template <class T> constexpr Size kGroupedClasses = kGroupElements<T> / kFewestRows;
// The logarithms of one group hide the latency of the next.
constexpr Size kGroupsAbreast = 4;

// The last may have fewer rows than lanes.
template <class T> struct RowGroup {
  Size first, count;

  template <class S> SOFTSTEP_INLINE Vec<T> load_from(const S* row_values) const {
    return count == kLanes<T> ? load(row_values + first) : partial_load(row_values + first, count);
  }
  template <class S> SOFTSTEP_INLINE void store_to(S* row_values, Vec<T> v) const {
    if (count == kLanes<T>)
      store(row_values + first, v);
    else
      partial_store(row_values + first, count, v);
  }
  template <class P> SOFTSTEP_INLINE P* row_of(Matrix<P> m) const {
    return m.data ? m.data + first * m.stride : nullptr;
  }
};

// Groups abreast, step by step: each step(k, group, buffer), k < kGroupsAbreast. The buffer holds
// an element for each of the group's.
template <class T, class... Steps>
SOFTSTEP_INLINE void for_each_row_group(Size rows, Size cols, Steps... steps) {
  constexpr Size w = kLanes<T>;
  const Size fit = kGroupElements<T> / cols; // rows
  const Size rows_of_group = fit < w ? fit : w, abreast = fit > kGroupsAbreast * w ? kGroupsAbreast
                                                          : fit > w                ? fit / w
                                                                                   : 1;
  const Size most = abreast * rows_of_group;
  alignas(kVectorBytes) T buffer[kGroupElements<T>];
  for (Size first = 0; first < rows; first += most) {
    const Size here = rows - first < most ? rows - first : most;
    const auto each = [&](auto step) SOFTSTEP_INLINE_LAMBDA {
      for (Size done = 0, k = 0; done < here; done += rows_of_group, ++k) {
        const Size count = here - done < rows_of_group ? here - done : rows_of_group;
        step(k, RowGroup<T>{first + done, count}, buffer + done * cols);
      }
    };
    (each(steps), ...);
  }
}

// e = exp((x - reference) * scale); kUnit: the scale is 1. Returns the sum of the exponents if
// kMoment. The last vector overlaps the one before it, which may overwrite it: it is read first,
// and written last, with the same bits.
template <bool kUnit, bool kMoment, class S, class T>
SOFTSTEP_INLINE Vec<T> exp_row(T* e, const S* x, T reference, T scale, Size cols) {
  constexpr Size w = kLanes<T>;
  const Vec<T> zero = Vec<T>{} + reference, factor = broadcast(scale);
  const Vec<T> last = load(x + cols - w);
  Vec<T> moment{};
  const auto take = [&](Size i, Vec<T> logit) SOFTSTEP_INLINE_LAMBDA {
    const Vec<T> u = kUnit ? logit - zero : (logit - zero) * factor;
    store(e + i, exp<T>(u));
    return u;
  };
  Size i = 0;
  for (; i + 4 * w <= cols - w; i += 4 * w) {
    prefetch<4 * w* static_cast<Size>(sizeof(S))>(x + i + kGroupElements<T>);
#pragma GCC unroll 4
    for (Size k = 0; k < 4; ++k) {
      const Vec<T> u = take(i + k * w, load(x + i + k * w));
      if constexpr (kMoment)
        moment += u;
    }
  }
#pragma GCC unroll 1
  for (; i < cols - w; i += w) {
    const Vec<T> u = take(i, load(x + i));
    if constexpr (kMoment)
      moment += u;
  }
  const Vec<T> u = take(cols - w, last);
  if constexpr (kMoment) {
    const Size rest = cols % w;
    moment += rest == 0 ? u : select<T>(last_lanes<T>(rest), u, Vec<T>{});
  }
  return moment;
}

// d[i] = of(e[i]), where e may be d: as above.
template <class S, class Of, class T = Compute<S>>
SOFTSTEP_INLINE void write_row(S* d, const T* e, Size cols, Of of) {
  constexpr Size w = kLanes<T>;
  const Vec<T> last = of(load(e + cols - w));
#pragma GCC unroll 4
  for (Size i = 0; i < cols - w; i += w)
    store(d + i, of(load(e + i)));
  store(d + cols - w, last);
}

// The sum of the row's elements, in lanes that are still to be added.
template <class T> SOFTSTEP_INLINE Vec<T> sum_of_row(const T* e, Size cols) {
  return sum_lanes_of_row<T>(0, cols, [e](Size i) SOFTSTEP_INLINE_LAMBDA { return load(e + i); });
}

} // namespace
} // namespace softstep::KERNEL_ISA
