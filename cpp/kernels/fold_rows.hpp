// Vectors of several rows folded together: what is one number a row becomes a lane.
#pragma once

#include "simd.hpp"

#include <utility>

namespace softstep::KERNEL_ISA {
namespace {

template <class T> struct RowVectors {
  Vec<T> of[kLanes<T>];
};

namespace detail {

// The chunks of kChunk lanes of both, their lower (or upper) halves: a0 b0 a1 b1 ...
template <class T, Size kChunk, Size kUpper, int... kIndex>
SOFTSTEP_INLINE Vec<T> halves_of_chunks(Vec<T> a, Vec<T> b, std::integer_sequence<int, kIndex...>) {
  constexpr Size n = kLanes<T>, h = kChunk / 2;
  return __builtin_shufflevector(a, b,
                                 static_cast<int>(kIndex / kChunk * kChunk + kUpper * h +
                                                  kIndex % h + (kIndex % kChunk >= h ? n : 0))...);
}

template <class T, Size kChunk, class Combine>
SOFTSTEP_INLINE Vec<T> fold_rows(Vec<T>* v, Combine combine) {
  if constexpr (kChunk == 1) {
    return v[0];
  } else {
    constexpr auto kIndices = std::make_integer_sequence<int, static_cast<int>(kLanes<T>)>{};
#pragma GCC unroll 8
    for (Size i = 0; i < kChunk / 2; ++i) {
      const Vec<T> a = v[i], b = v[i + kChunk / 2];
      v[i] = combine(halves_of_chunks<T, kChunk, 0>(a, b, kIndices),
                     halves_of_chunks<T, kChunk, 1>(a, b, kIndices));
    }
    return fold_rows<T, kChunk / 2>(v, combine);
  }
}

} // namespace detail

// Lane r: the sum of the lanes of vector r, in the order of reduce(), whatever the other rows are.
template <class T> SOFTSTEP_INLINE Vec<T> sum_of_rows(RowVectors<T> rows) {
  return detail::fold_rows<T, kLanes<T>>(rows.of, [](Vec<T> a, Vec<T> b) { return a + b; });
}

template <class T> SOFTSTEP_INLINE Vec<T> max_of_rows(RowVectors<T> rows) {
  return detail::fold_rows<T, kLanes<T>>(rows.of, [](Vec<T> a, Vec<T> b) { return max(a, b); });
}

} // namespace
} // namespace softstep::KERNEL_ISA
