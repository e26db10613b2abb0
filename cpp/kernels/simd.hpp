// The vector of one ISA level, in GCC/Clang vector extensions and the vocabulary of C++26
// std::simd. Loads and stores are unaligned. Storage types narrower than the arithmetic type are
// converted here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#define SOFTSTEP_INLINE [[gnu::always_inline]] inline
#define SOFTSTEP_INLINE_LAMBDA __attribute__((always_inline)) // between parameters and body

namespace softstep::KERNEL_ISA {
namespace {

using Size = std::ptrdiff_t;

#if defined(__AVX512F__)
constexpr Size kVectorBytes = 64;
#elif defined(__AVX__)
constexpr Size kVectorBytes = 32;
#else
constexpr Size kVectorBytes = 16;
#endif
constexpr Size kCacheLine = 64;

// GCC needs the struct: it rejects vector_size on an alias template.
template <class T, Size Bytes> struct VecOf;
template <Size Bytes> struct VecOf<float, Bytes> {
  using type [[gnu::vector_size(Bytes)]] = float;
  using mask [[gnu::vector_size(Bytes)]] = std::int32_t;
  using bits [[gnu::vector_size(Bytes)]] = std::uint32_t;
};
template <Size Bytes> struct VecOf<double, Bytes> {
  using type [[gnu::vector_size(Bytes)]] = double;
  using mask [[gnu::vector_size(Bytes)]] = std::int64_t;
  using bits [[gnu::vector_size(Bytes)]] = std::uint64_t;
};

template <class T> using Vec = typename VecOf<T, kVectorBytes>::type;
template <class T> using Mask = typename VecOf<T, kVectorBytes>::mask; // lanes are 0 or -1
template <class T> constexpr Size kLanes = kVectorBytes / static_cast<Size>(sizeof(T));

template <class T> struct LaneInt;
template <> struct LaneInt<float> {
  using type = std::int32_t;
};
template <> struct LaneInt<double> {
  using type = std::int64_t;
};

template <class T> SOFTSTEP_INLINE Vec<T> broadcast(T value) { return Vec<T>{} + value; }

template <class T> SOFTSTEP_INLINE Vec<T> load(const T* from) {
  Vec<T> v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
template <class T> SOFTSTEP_INLINE void store(T* to, Vec<T> v) { std::memcpy(to, &v, sizeof v); }

// The first n < lanes elements; the other lanes hold `fill`.
template <class T> SOFTSTEP_INLINE Vec<T> partial_load(const T* from, Size n, T fill = 0) {
  Vec<T> v = broadcast<T>(fill);
  std::memcpy(&v, from, static_cast<std::size_t>(n) * sizeof(T));
  return v;
}
template <class T> SOFTSTEP_INLINE void partial_store(T* to, Size n, Vec<T> v) {
  std::memcpy(to, &v, static_cast<std::size_t>(n) * sizeof(T));
}

template <class T> SOFTSTEP_INLINE Vec<T> select(Mask<T> mask, Vec<T> yes, Vec<T> no) {
  return mask ? yes : no;
}

template <class T> SOFTSTEP_INLINE Mask<T> lane_index() {
  Mask<T> index{};
  for (Size i = 0; i < kLanes<T>; ++i)
    index[i] = static_cast<typename LaneInt<T>::type>(i);
  return index;
}

// Integers that wrap around, as those of lanes that nobody uses do; in Mask it would be undefined.
template <class T> SOFTSTEP_INLINE Mask<T> wrapped_sum(Mask<T> a, Mask<T> b) {
  using Bits = typename VecOf<T, kVectorBytes>::bits;
  return reinterpret_cast<Mask<T>>(reinterpret_cast<Bits>(a) + reinterpret_cast<Bits>(b));
}
template <class T> SOFTSTEP_INLINE Mask<T> wrapped_difference(Mask<T> a, Mask<T> b) {
  using Bits = typename VecOf<T, kVectorBytes>::bits;
  return reinterpret_cast<Mask<T>>(reinterpret_cast<Bits>(a) - reinterpret_cast<Bits>(b));
}

template <class T> SOFTSTEP_INLINE bool any(Mask<T> mask) {
  std::int64_t words[kVectorBytes / 8];
  std::memcpy(words, &mask, sizeof words);
  std::int64_t bits = 0;
  for (std::int64_t word : words)
    bits |= word;
  return bits != 0;
}

// A NaN in `a` is dropped, a NaN in `b` is returned: max(a, x) over a row forgets NaNs, which the
// sum of exponentials then brings back.
template <class V> SOFTSTEP_INLINE V max(V a, V b) { return a > b ? a : b; }

// One rounding where the level has an FMA (-ffp-contract=fast), two on x86_64_v2.
template <class V> SOFTSTEP_INLINE V fma(V a, V b, V c) { return a * b + c; }

template <class T, Size Bytes> struct HalvesOf {
  typename VecOf<T, Bytes / 2>::type low, high;
};
template <class T, Size Bytes, int... kIndex>
SOFTSTEP_INLINE HalvesOf<T, Bytes> halves(typename VecOf<T, Bytes>::type v,
                                          std::integer_sequence<int, kIndex...>) {
  constexpr int n = sizeof...(kIndex);
  return {__builtin_shufflevector(v, v, kIndex...), __builtin_shufflevector(v, v, (n + kIndex)...)};
}

// Lanes are folded by halves, so that the order of the additions is that of the level, always.
template <class T, Size Bytes, class Combine>
SOFTSTEP_INLINE T fold(typename VecOf<T, Bytes>::type v, Combine combine) {
  if constexpr (Bytes == 2 * sizeof(T)) {
    return combine(v[0], v[1]);
  } else {
    const auto [low, high] = halves<T, Bytes>(
        v, std::make_integer_sequence<int, static_cast<int>(Bytes / 2 / sizeof(T))>{});
    return fold<T, Bytes / 2>(combine(low, high), combine);
  }
}
template <class T> SOFTSTEP_INLINE T reduce(Vec<T> v) {
  return fold<T, kVectorBytes>(v, [](auto a, auto b) { return a + b; });
}
template <class T> SOFTSTEP_INLINE T reduce_max(Vec<T> v) {
  return fold<T, kVectorBytes>(v, [](auto a, auto b) { return max(a, b); });
}

template <Size Bytes> SOFTSTEP_INLINE void prefetch(const void* from) {
#pragma GCC unroll 8
  for (Size i = 0; i < Bytes; i += kCacheLine)
    __builtin_prefetch(static_cast<const char*>(from) + i);
}

} // namespace
} // namespace softstep::KERNEL_ISA
