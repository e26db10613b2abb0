// A sum in double of vectors of any type: no rounding worth naming, no overflow of float32.
#pragma once

#include "simd.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <class T> struct WideSum;

template <> struct WideSum<double> {
  Vec<double> sum{};
  SOFTSTEP_INLINE void add(Vec<double> v) { sum += v; }
  SOFTSTEP_INLINE void add_square(Vec<double> v) { sum = fma(v, v, sum); }
  SOFTSTEP_INLINE double total() const { return reduce<double>(sum); }
};

template <> struct WideSum<float> {
  Vec<double> low{}, high{};

  SOFTSTEP_INLINE void add(Vec<float> v) {
    low += half<0>(v);
    high += half<1>(v);
  }
  // The squares of float32 are exact in double.
  SOFTSTEP_INLINE void add_square(Vec<float> v) {
    low = fma(half<0>(v), half<0>(v), low);
    high = fma(half<1>(v), half<1>(v), high);
  }
  SOFTSTEP_INLINE double total() const { return reduce<double>(low + high); }

  template <Size kIndex> SOFTSTEP_INLINE static Vec<double> half(Vec<float> v) {
    typename VecOf<float, kVectorBytes / 2>::type part;
    std::memcpy(&part, reinterpret_cast<const char*>(&v) + kIndex * kVectorBytes / 2, sizeof part);
    return __builtin_convertvector(part, Vec<double>);
  }
};

template <class T, std::size_t N> SOFTSTEP_INLINE double total(const WideSum<T> (&sums)[N]) {
  double result = 0;
  for (const WideSum<T>& sum : sums)
    result += sum.total();
  return result;
}

} // namespace
} // namespace softstep::KERNEL_ISA
