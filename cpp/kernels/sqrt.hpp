// The square root of each lane, correctly rounded: an instruction of every level, which the vector
// extensions of GCC have no word for.
#pragma once

#include "simd.hpp"

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace softstep::KERNEL_ISA {
namespace {

// The maskz forms spare GCC 12 its false alarm about an uninitialised source (GCC PR105593).
#if defined(__AVX512F__)
SOFTSTEP_INLINE Vec<float> sqrt(Vec<float> v) {
  return reinterpret_cast<Vec<float>>(_mm512_maskz_sqrt_ps(0xffff, reinterpret_cast<__m512>(v)));
}
SOFTSTEP_INLINE Vec<double> sqrt(Vec<double> v) {
  return reinterpret_cast<Vec<double>>(_mm512_maskz_sqrt_pd(0xff, reinterpret_cast<__m512d>(v)));
}
#elif defined(__AVX__)
SOFTSTEP_INLINE Vec<float> sqrt(Vec<float> v) {
  return reinterpret_cast<Vec<float>>(_mm256_sqrt_ps(reinterpret_cast<__m256>(v)));
}
SOFTSTEP_INLINE Vec<double> sqrt(Vec<double> v) {
  return reinterpret_cast<Vec<double>>(_mm256_sqrt_pd(reinterpret_cast<__m256d>(v)));
}
#elif defined(__SSE2__)
SOFTSTEP_INLINE Vec<float> sqrt(Vec<float> v) {
  return reinterpret_cast<Vec<float>>(_mm_sqrt_ps(reinterpret_cast<__m128>(v)));
}
SOFTSTEP_INLINE Vec<double> sqrt(Vec<double> v) {
  return reinterpret_cast<Vec<double>>(_mm_sqrt_pd(reinterpret_cast<__m128d>(v)));
}
#elif defined(__ARM_NEON)
SOFTSTEP_INLINE Vec<float> sqrt(Vec<float> v) {
  return reinterpret_cast<Vec<float>>(vsqrtq_f32(reinterpret_cast<float32x4_t>(v)));
}
SOFTSTEP_INLINE Vec<double> sqrt(Vec<double> v) {
  return reinterpret_cast<Vec<double>>(vsqrtq_f64(reinterpret_cast<float64x2_t>(v)));
}
#endif

} // namespace
} // namespace softstep::KERNEL_ISA
