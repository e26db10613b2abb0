// exp, log and log1p of a vector. Polynomials and their error bounds: coefficients.hpp.
#pragma once

#include "coefficients.hpp"
#include "simd.hpp"

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#endif

namespace softstep::KERNEL_ISA {
namespace {

template <class T> constexpr T kInfinity = static_cast<T>(__builtin_inff());
template <class T> constexpr T kNan = static_cast<T>(__builtin_nanf(""));

template <class T> constexpr int kMantissaBits = sizeof(T) == 4 ? 23 : 52;
template <class T> constexpr int kExponentBias = sizeof(T) == 4 ? 127 : 1023;

template <class T> SOFTSTEP_INLINE Mask<T> as_bits(Vec<T> v) {
  return reinterpret_cast<Mask<T>>(v);
}
template <class T> SOFTSTEP_INLINE Vec<T> as_float(Mask<T> bits) {
  return reinterpret_cast<Vec<T>>(bits);
}

// c[K] + c[K + 1] x + ...
template <class T, std::size_t N, std::size_t K = 0>
SOFTSTEP_INLINE Vec<T> horner(const T (&c)[N], Vec<T> x) {
  if constexpr (K + 1 == N)
    return broadcast<T>(c[K]);
  else
    return fma(horner<T, N, K + 1>(c, x), x, broadcast<T>(c[K]));
}

// c[K] + c[K + 1] x + ...
template <std::size_t K, class T, std::size_t N>
SOFTSTEP_INLINE Vec<T> horner_from(const T (&c)[N], Vec<T> x) {
  return horner<T, N, K>(c, x);
}

// Entry index % kLanes of a table of kLanes entries, in one instruction; where there is none, the
// type has no such table. (The maskz forms: see storage.hpp.)
template <class T> constexpr bool kHasTables = false;
#if defined(__AVX512F__)
template <> constexpr bool kHasTables<float> = true;
template <> constexpr bool kHasTables<double> = true;
SOFTSTEP_INLINE Mask<float> look_up(Mask<float> table, Mask<float> index) {
  return reinterpret_cast<Mask<float>>(_mm512_maskz_permutexvar_epi32(
      0xffff, reinterpret_cast<__m512i>(index), reinterpret_cast<__m512i>(table)));
}
SOFTSTEP_INLINE Mask<double> look_up(Mask<double> table, Mask<double> index) {
  return reinterpret_cast<Mask<double>>(_mm512_maskz_permutexvar_epi64(
      0xff, reinterpret_cast<__m512i>(index), reinterpret_cast<__m512i>(table)));
}
#elif defined(__AVX2__) && defined(__FMA__)
template <> constexpr bool kHasTables<float> = true;
SOFTSTEP_INLINE Mask<float> look_up(Mask<float> table, Mask<float> index) {
  return reinterpret_cast<Mask<float>>(_mm256_permutevar8x32_epi32(
      reinterpret_cast<__m256i>(table), reinterpret_cast<__m256i>(index)));
}
#endif

template <Size N> constexpr int kLog2 = 1 + kLog2<N / 2>;
template <> constexpr int kLog2<1> = 0;

// The bits of the roots 2^(i / kLanes), less what i itself adds when it is shifted to their place.
template <class T> SOFTSTEP_INLINE Mask<T> exp_table() {
  constexpr int shift = kMantissaBits<T> - kLog2<kLanes<T>>;
  Mask<T> table;
  std::memcpy(&table, ExpTable<T, kLanes<T>>::kRoots, sizeof table);
  return table - (lane_index<T>() << shift);
}

// e^t for t that does not overflow: 2^n e^r with n = round(t / ln2), |r| <= ln2 / 2; 0 where 2^n
// would be subnormal. Adding 1.5 * 2^mantissa rounds to an integer; the exponent bias is in that
// constant, so the low bits of the sum are the exponent field of 2^n, which is multiplied in, not
// added to the exponent of e^r: a product keeps every NaN a NaN.
template <class T> SOFTSTEP_INLINE Vec<T> exp_by_polynomial(Vec<T> t) {
  using C = Coefficients<T>;
  constexpr T kRound = C::kRoundMagic + static_cast<T>(kExponentBias<T>);
  const Vec<T> rounded = fma(t, broadcast<T>(C::kLog2E), broadcast<T>(kRound));
  const Vec<T> n = rounded - kRound;
  Vec<T> r = fma(n, broadcast<T>(-C::kLn2Hi), t);
  r = fma(n, broadcast<T>(-C::kLn2Lo), r);
  const Vec<T> power = as_float<T>(as_bits<T>(rounded) << kMantissaBits<T>);
  return horner(C::kExp, r) * power;
}

// The same with n in steps of 1 / kLanes: a shorter r needs a shorter polynomial. Its low bits
// choose the root, the others are the exponent field.
template <class T> SOFTSTEP_INLINE Vec<T> exp_by_table(Vec<T> t) {
  using C = Coefficients<T>;
  using E = ExpTable<T, kLanes<T>>;
  constexpr T kSteps = static_cast<T>(kLanes<T>);
  const Vec<T> rounded = fma(t, broadcast<T>(kSteps * C::kLog2E), broadcast<T>(C::kRoundMagic));
  const Vec<T> n = rounded - C::kRoundMagic;
  Vec<T> r = fma(n, broadcast<T>(-E::kLn2Hi), t);
  r = fma(n, broadcast<T>(-E::kLn2Lo), r);
  const Mask<T> bits = as_bits<T>(rounded);
  const Mask<T> exponent = bits << (kMantissaBits<T> - kLog2<kLanes<T>>);
  const Vec<T> power = as_float<T>(wrapped_sum<T>(look_up(exp_table<T>(), bits), exponent));
  const Vec<T> rest = fma(horner_from<2, T>(E::kExp, r), r * r, r); // e^r - 1
  return fma(rest, power, power);
}

template <class T> SOFTSTEP_INLINE Vec<T> exp(Vec<T> t) {
  Vec<T> e;
  if constexpr (kHasTables<T>)
    e = exp_by_table<T>(t);
  else
    e = exp_by_polynomial<T>(t);
  return select<T>(t < Coefficients<T>::kExpUnderflow, Vec<T>{}, e);
}

// log(1 + f) = f - tail, tail = h - s (h + s^2 R(s^2)), s = f / (2 + f), h = f^2 / 2.
template <class T> SOFTSTEP_INLINE Vec<T> log1p_product(Vec<T> f, Vec<T> h) {
  const Vec<T> s = f / (f + T(2));
  const Vec<T> z = s * s;
  return s * fma(z, horner(Coefficients<T>::kLog, z), h);
}

// Of log(1 + u) what differs from u: nothing where u is so small, and no subnormal number then.
template <class T> SOFTSTEP_INLINE Vec<T> seen_beside_1(Vec<T> u) {
  return select<T>(u < T(1) / static_cast<T>(Size{8} << kMantissaBits<T>), Vec<T>{}, u);
}

// log(1 + u) for 0 <= u <= 1, to full relative accuracy near 0. NaN stays NaN.
template <class T> SOFTSTEP_INLINE Vec<T> log1p(Vec<T> u) {
  const Vec<T> f = seen_beside_1<T>(u), h = T(0.5) * f * f;
  return u - (h - log1p_product<T>(f, h));
}

// v = 2^n (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), for normal v > 0.
template <class T> struct LogArgument {
  Vec<T> f, n;
};
template <class T> SOFTSTEP_INLINE LogArgument<T> split(Vec<T> v) {
  using C = Coefficients<T>;
  const Mask<T> bits = as_bits<T>(v);
  const Mask<T> sqrt_half = as_bits<T>(broadcast<T>(static_cast<T>(0.70710678118654752440)));
  const Mask<T> k = wrapped_difference<T>(bits, sqrt_half) >> kMantissaBits<T>;
  const Vec<T> n = as_float<T>(k + as_bits<T>(broadcast<T>(C::kRoundMagic))) - C::kRoundMagic;
  return {as_float<T>(wrapped_difference<T>(bits, k << kMantissaBits<T>)) - T(1), n};
}

// log v for normal v > 0. Zeros, infinities, negative numbers and subnormals must not reach it; NaN
// stays NaN.
template <class T> SOFTSTEP_INLINE Vec<T> log(Vec<T> v) {
  using C = Coefficients<T>;
  const auto [f, n] = split<T>(v);
  const Vec<T> h = T(0.5) * f * f;
  const Vec<T> low = fma(n, broadcast<T>(C::kLn2Lo), log1p_product<T>(f, h));
  const Vec<T> result = fma(n, broadcast<T>(C::kLn2Hi), f - (h - low));
  return select<T>(v == v, result, v);
}

// log1p(u) in the lanes that say so, as log1p above; log v in the others, as log above.
template <class T> SOFTSTEP_INLINE Vec<T> log_or_log1p(Vec<T> v, Vec<T> u, Mask<T> use_log1p) {
  using C = Coefficients<T>;
  const LogArgument<T> far = split<T>(v);
  const Vec<T> first = select<T>(use_log1p, u, far.f), n = select<T>(use_log1p, Vec<T>{}, far.n);
  const Vec<T> f = select<T>(use_log1p, seen_beside_1<T>(u), far.f), h = T(0.5) * f * f;
  const Vec<T> low = fma(n, broadcast<T>(C::kLn2Lo), log1p_product<T>(f, h));
  return fma(n, broadcast<T>(C::kLn2Hi), first - (h - low));
}

// 1 - e^t for t <= 0, from e = e^t: near 0 from the polynomial, without cancellation.
template <class T> SOFTSTEP_INLINE Vec<T> one_minus_exp(Vec<T> t, Vec<T> e) {
  const Vec<T> small = -t * horner_from<1, T>(Coefficients<T>::kExp, t);
  return select<T>(t > T(-0.34), small, T(1) - e);
}

template <class T> struct Tanh {
  Vec<T> value, slope; // slope = 1 - tanh^2
};

// From e = exp(-2|a|): (1 - e) / (1 + e).
// The slope 4 e / (1 + e)^2 has no cancellation where tanh is 1 but for rounding.
template <class T> SOFTSTEP_INLINE Tanh<T> tanh(Vec<T> a) {
  const Vec<T> t = a < T(0) ? a + a : -(a + a);
  const Vec<T> e = exp<T>(t), gap = one_minus_exp<T>(t, e), sum = T(1) + e;
  const Vec<T> value = gap / sum;
  return {select<T>(a < T(0), -value, value), (T(4) * e) / (sum * sum)};
}

SOFTSTEP_INLINE double exp_scalar(double t) { return exp<double>(broadcast<double>(t))[0]; }
SOFTSTEP_INLINE double log_scalar(double v) { return log<double>(broadcast<double>(v))[0]; }
SOFTSTEP_INLINE double log1p_scalar(double u) { return log1p<double>(broadcast<double>(u))[0]; }

} // namespace
} // namespace softstep::KERNEL_ISA
