// Half-precision storage: float16 and bfloat16 are loaded as float32 lanes and rounded to nearest
// even when they are stored. Arithmetic never happens in them.
#pragma once

#include "kernels.hpp"
#include "simd.hpp"

// Intrinsics are always inlined, so this header leaves no symbol behind. The maskz forms spare GCC
// 12 its false alarm about an uninitialised source (GCC PR105593).
#if defined(__F16C__) // so every level with AVX2
#include <immintrin.h>
#endif

namespace softstep::KERNEL_ISA {
namespace {

using HalfBits [[gnu::vector_size(kVectorBytes / 2)]] = std::uint16_t;
using WideBits [[gnu::vector_size(kVectorBytes)]] = std::uint32_t;

SOFTSTEP_INLINE WideBits wide_bits(Vec<float> v) { return reinterpret_cast<WideBits>(v); }

// GCC 12 makes four instructions of a __builtin_convertvector where the CPU has one or two.
SOFTSTEP_INLINE WideBits widen_bits(HalfBits half) {
#if defined(__AVX512F__)
  return reinterpret_cast<WideBits>(
      _mm512_maskz_cvtepu16_epi32(0xffff, reinterpret_cast<__m256i>(half)));
#elif defined(__AVX2__) && defined(__F16C__)
  return reinterpret_cast<WideBits>(_mm256_cvtepu16_epi32(reinterpret_cast<__m128i>(half)));
#else
  return __builtin_convertvector(half, WideBits);
#endif
}
// Of bits below 2^16.
SOFTSTEP_INLINE HalfBits narrow_bits(WideBits bits) {
#if defined(__AVX512F__)
  return reinterpret_cast<HalfBits>(
      _mm512_maskz_cvtepi32_epi16(0xffff, reinterpret_cast<__m512i>(bits)));
#elif defined(__AVX2__) && defined(__F16C__)
  const __m256i wide = reinterpret_cast<__m256i>(bits);
  return reinterpret_cast<HalfBits>(
      _mm256_castsi256_si128(_mm256_permute4x64_epi64(_mm256_packus_epi32(wide, wide), 0x08)));
#else
  return __builtin_convertvector(bits, HalfBits);
#endif
}

template <class S> struct Codec;

template <> struct Codec<BFloat16> {
  SOFTSTEP_INLINE static Vec<float> widen(HalfBits half) {
    return reinterpret_cast<Vec<float>>(widen_bits(half) << 16);
  }
  SOFTSTEP_INLINE static WideBits rounded(WideBits bits) {
    return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  }
  SOFTSTEP_INLINE static HalfBits narrow(Vec<float> v) {
    const WideBits bits = wide_bits(v);
    // Rounding must not carry a NaN into the sign.
    const WideBits nan = (bits >> 16) | 0x40;
    return narrow_bits(v == v ? rounded(bits) : nan);
  }
  SOFTSTEP_INLINE static HalfBits narrow_number(Vec<float> v) {
    return narrow_bits(rounded(wide_bits(v)));
  }
};

template <> struct Codec<Float16> {
#if defined(__AVX512F__)
  SOFTSTEP_INLINE static Vec<float> widen(HalfBits half) {
    return reinterpret_cast<Vec<float>>(
        _mm512_maskz_cvtph_ps(0xffff, reinterpret_cast<__m256i>(half)));
  }
  SOFTSTEP_INLINE static HalfBits narrow(Vec<float> v) {
    return reinterpret_cast<HalfBits>(
        _mm512_maskz_cvtps_ph(0xffff, reinterpret_cast<__m512>(v), _MM_FROUND_TO_NEAREST_INT));
  }
#elif defined(__F16C__)
  SOFTSTEP_INLINE static Vec<float> widen(HalfBits half) {
    return reinterpret_cast<Vec<float>>(_mm256_cvtph_ps(reinterpret_cast<__m128i>(half)));
  }
  SOFTSTEP_INLINE static HalfBits narrow(Vec<float> v) {
    return reinterpret_cast<HalfBits>(
        _mm256_cvtps_ph(reinterpret_cast<__m256>(v), _MM_FROUND_TO_NEAREST_INT));
  }
#else
  SOFTSTEP_INLINE static Vec<float> widen(HalfBits half) {
    const WideBits bits = __builtin_convertvector(half, WideBits);
    // The exponent moves by 112 = 127 - 15 in a product, which also normalises subnormals.
    const Vec<float> magnitude = reinterpret_cast<Vec<float>>((bits & 0x7fff) << 13) * 0x1p112f;
    const WideBits special = (bits & 0x7c00) == 0x7c00 ? WideBits{} + 0x7f800000 : WideBits{};
    return reinterpret_cast<Vec<float>>(wide_bits(magnitude) | special | ((bits & 0x8000) << 16));
  }
  SOFTSTEP_INLINE static HalfBits narrow(Vec<float> v) {
    const WideBits bits = wide_bits(v), sign = (bits >> 16) & 0x8000, size = bits & 0x7fffffff;
    const WideBits normal = (size + 0xc8000fff + ((size >> 13) & 1)) >> 13;
    // Adding 0.5 leaves a subnormal's bits, rounded, at the end of the sum.
    const WideBits subnormal = wide_bits(reinterpret_cast<Vec<float>>(size) + 0.5f) - 0x3f000000;
    const WideBits special = size > 0x7f800000 ? WideBits{} + 0x7e00 : WideBits{} + 0x7c00;
    const WideBits finite = size < 0x38800000 ? subnormal : normal;
    return __builtin_convertvector((size >= 0x47800000 ? special : finite) | sign, HalfBits);
  }
#endif
};

template <class S> SOFTSTEP_INLINE Vec<float> load_half(const S* from) {
  HalfBits half;
  std::memcpy(&half, from, sizeof half);
  return Codec<S>::widen(half);
}
template <class S> SOFTSTEP_INLINE void store_half(S* to, Vec<float> v) {
  const HalfBits half = Codec<S>::narrow(v);
  std::memcpy(to, &half, sizeof half);
}
template <class S> SOFTSTEP_INLINE Vec<float> partial_load_half(const S* from, Size n) {
  HalfBits half{};
  std::memcpy(&half, from, static_cast<std::size_t>(n) * sizeof(S));
  return Codec<S>::widen(half);
}
template <class S> SOFTSTEP_INLINE void partial_store_half(S* to, Size n, Vec<float> v) {
  const HalfBits half = Codec<S>::narrow(v);
  std::memcpy(to, &half, static_cast<std::size_t>(n) * sizeof(S));
}

SOFTSTEP_INLINE Vec<float> load(const BFloat16* from) { return load_half(from); }
SOFTSTEP_INLINE Vec<float> load(const Float16* from) { return load_half(from); }
SOFTSTEP_INLINE void store(BFloat16* to, Vec<float> v) { store_half(to, v); }
SOFTSTEP_INLINE void store(Float16* to, Vec<float> v) { store_half(to, v); }
SOFTSTEP_INLINE Vec<float> partial_load(const BFloat16* from, Size n) {
  return partial_load_half(from, n);
}
SOFTSTEP_INLINE Vec<float> partial_load(const Float16* from, Size n) {
  return partial_load_half(from, n);
}
SOFTSTEP_INLINE void partial_store(BFloat16* to, Size n, Vec<float> v) {
  partial_store_half(to, n, v);
}
SOFTSTEP_INLINE void partial_store(Float16* to, Size n, Vec<float> v) {
  partial_store_half(to, n, v);
}

// As store, of vectors without a NaN.
template <class S> SOFTSTEP_INLINE void store_number(S* to, Vec<Compute<S>> v) { store(to, v); }
SOFTSTEP_INLINE void store_number(BFloat16* to, Vec<float> v) {
  const HalfBits half = Codec<BFloat16>::narrow_number(v);
  std::memcpy(to, &half, sizeof half);
}

// Half precision cannot hold an exponential between two sweeps without a second rounding: its
// kernels make it again.
template <class S> constexpr bool kKeepsExponentials = sizeof(S) == sizeof(Compute<S>);

// One element.
SOFTSTEP_INLINE float get(const float* from) { return *from; }
SOFTSTEP_INLINE double get(const double* from) { return *from; }
template <class S> SOFTSTEP_INLINE float get(const S* from) {
  return partial_load_half(from, 1)[0];
}
SOFTSTEP_INLINE void put(float* to, double value) { *to = static_cast<float>(value); }
SOFTSTEP_INLINE void put(double* to, double value) { *to = value; }
template <class S> SOFTSTEP_INLINE void put(S* to, double value) {
  partial_store_half(to, 1, broadcast(static_cast<float>(value)));
}

} // namespace
} // namespace softstep::KERNEL_ISA
