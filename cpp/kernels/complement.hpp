// 1 - p of a class that has nearly all of the probability.
#pragma once

#include "storage.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <class T> SOFTSTEP_INLINE Mask<T> has_nearly_all(Vec<T> p) { return p > T(0.9375); }

// How far p and the sum of the others may be from 1 together, by the rounding of p in memory.
template <class S> constexpr double kRounding = 0;
template <> constexpr double kRounding<double> = 0x1p-48;
template <> constexpr double kRounding<float> = 0x1p-19;
template <> constexpr double kRounding<Float16> = 0x1.2p-12;
template <> constexpr double kRounding<BFloat16> = 0x1.2p-9;

// The sum of the others has more digits than 1 - p, if it is no further from it: in half precision
// many small ones may be lost, and a caller's numbers may be no probabilities.
template <class T> SOFTSTEP_INLINE Vec<T> complement(Vec<T> p, Vec<T> others, double rounding) {
  const Vec<T> rest = T(1) - p, difference = rest - others;
  const T bound = static_cast<T>(rounding);
  return select<T>((difference <= bound) & (difference >= -bound), others, rest);
}

} // namespace
} // namespace softstep::KERNEL_ISA
