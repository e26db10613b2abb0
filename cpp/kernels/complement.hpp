// 1 - p of a class that has nearly all of the probability.
#pragma once

#include "storage.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <class T> SOFTSTEP_INLINE Mask<T> has_nearly_all(Vec<T> p) { return p > T(0.9375); }

// The sum of the others has more digits than 1 - p, if it is no further from it: in half precision
// many small ones may be lost, and a caller's numbers may be no probabilities.
template <class T> SOFTSTEP_INLINE Vec<T> complement(Vec<T> p, Vec<T> others, T bound) {
  const Vec<T> rest = T(1) - p, difference = rest - others;
  return select<T>((difference <= bound) & (difference >= -bound), others, rest);
}

} // namespace
} // namespace softstep::KERNEL_ISA
