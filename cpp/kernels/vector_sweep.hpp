// Sweeps over contiguous elements of any number: whole vectors, then one part of a vector.
#pragma once

#include "simd.hpp"

namespace softstep::KERNEL_ISA {
namespace {

// How the body of a sweep reaches its vector, so that it is written once for both cases.
template <class T> struct WholeVector {
  SOFTSTEP_INLINE Vec<T> load_from(const T* from) const { return load(from); }
  SOFTSTEP_INLINE void store_to(T* to, Vec<T> v) const { store(to, v); }
  SOFTSTEP_INLINE Vec<T> inside(Vec<T> v) const { return v; }
};

template <class T> struct PartOfVector {
  Size n;
  SOFTSTEP_INLINE Vec<T> load_from(const T* from) const { return partial_load(from, n, T(0)); }
  SOFTSTEP_INLINE void store_to(T* to, Vec<T> v) const { partial_store(to, n, v); }
  // 0 in the lanes beyond the end, for sums.
  SOFTSTEP_INLINE Vec<T> inside(Vec<T> v) const {
    const auto end = static_cast<typename LaneInt<T>::type>(n);
    return select<T>(lane_index<T>() < end, v, Vec<T>{});
  }
};

// A product that is rounded before it is added to another one. Of a*b + c*d the compiler may fuse
// either, and not the same one in a whole vector and in a part: bits would depend on the place.
template <class V> SOFTSTEP_INLINE V rounded(V product) {
#if defined(__aarch64__)
  asm("" : "+w"(product));
#else
  asm("" : "+v"(product));
#endif
  return product;
}

constexpr Size kUnroll = 4;

// body(access, i, k) for each vector, at element i; k in [0, kUnroll) changes from one to the next,
// to choose an accumulator.
template <class T, class Body> SOFTSTEP_INLINE void sweep_vectors(Size size, Body body) {
  constexpr Size w = kLanes<T>;
  Size i = 0;
  // Unrolled by pragma: GCC -O2 otherwise keeps the accumulators in memory.
  for (; i + kUnroll * w <= size; i += kUnroll * w) {
#pragma GCC unroll 4
    for (Size k = 0; k < kUnroll; ++k)
      body(WholeVector<T>{}, i + k * w, k);
  }
  for (; i + w <= size; i += w)
    body(WholeVector<T>{}, i, Size{0});
  if (i < size)
    body(PartOfVector<T>{size - i}, i, Size{1});
}

// The same without accumulators: body(access, i). Not unrolled, which costs a large update of many
// arrays 4 % (docs/design/0005-optimizers.md).
template <class T, class Body> SOFTSTEP_INLINE void each_vector(Size size, Body body) {
  constexpr Size w = kLanes<T>;
  Size i = 0;
  for (; i + w <= size; i += w)
    body(WholeVector<T>{}, i);
  if (i < size)
    body(PartOfVector<T>{size - i}, i);
}

} // namespace
} // namespace softstep::KERNEL_ISA
