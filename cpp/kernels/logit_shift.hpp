// From a logit to the argument of the exponential: (x - max) * scale, where x may be soft-capped.
#pragma once

#include "math.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <class T> struct ShiftScale {
  T scale;       // 1 / temperature
  T softcap = 0; // x becomes softcap * tanh(x / softcap); 0: not
};

// The maximum to subtract. A row that is -inf so far has none: its exponentials are 0, not NaN.
template <class T> SOFTSTEP_INLINE Vec<T> reference_of(T max) {
  return broadcast(max == -kInfinity<T> ? T(0) : max);
}

// A temperature of 1, no cap: nothing but the subtraction.
template <class T> struct UnitShift {
  static constexpr bool kCapped = false;
  Vec<T> max;
  SOFTSTEP_INLINE UnitShift(T row_max, ShiftScale<T>) : max(reference_of(row_max)) {}
  SOFTSTEP_INLINE Vec<T> operator()(Vec<T> x) const { return x - max; }
  SOFTSTEP_INLINE static T cap(T x, ShiftScale<T>) { return x; }
  SOFTSTEP_INLINE static Vec<T> slope(Vec<T>, ShiftScale<T>) { return broadcast(T(1)); }
};

template <class T> struct ScaledShift {
  static constexpr bool kCapped = false;
  Vec<T> max, scale;
  SOFTSTEP_INLINE ScaledShift(T row_max, ShiftScale<T> s)
      : max(reference_of(row_max)), scale(broadcast(s.scale)) {}
  SOFTSTEP_INLINE Vec<T> operator()(Vec<T> x) const { return (x - max) * scale; }
  SOFTSTEP_INLINE static T cap(T x, ShiftScale<T>) { return x; }
  SOFTSTEP_INLINE static Vec<T> slope(Vec<T>, ShiftScale<T>) { return broadcast(T(1)); }
};

// -inf stays -inf: a class that is masked out is not capped back in. A softcap of 0 is none.
template <class T> SOFTSTEP_INLINE Vec<T> soft_cap(Vec<T> x, T softcap) {
  if (softcap == 0)
    return x;
  const Vec<T> capped = softcap * tanh<T>(x / softcap).value;
  return select<T>(x == -kInfinity<T>, x, capped);
}

// For every task, with or without a softcap.
template <class T> struct CappedShift {
  static constexpr bool kCapped = true;
  Vec<T> max;
  ShiftScale<T> s;
  SOFTSTEP_INLINE CappedShift(T row_max, ShiftScale<T> row_scale)
      : max(reference_of(row_max)), s(row_scale) {}
  SOFTSTEP_INLINE Vec<T> operator()(Vec<T> x) const {
    return (soft_cap<T>(x, s.softcap) - max) * s.scale;
  }
  SOFTSTEP_INLINE static T cap(T x, ShiftScale<T> s) {
    return soft_cap<T>(broadcast(x), s.softcap)[0];
  }
  SOFTSTEP_INLINE static Vec<T> slope(Vec<T> x, ShiftScale<T> s) {
    return s.softcap == 0 ? broadcast(T(1)) : tanh<T>(x / s.softcap).slope;
  }
};

// Whether a class of this log-probability has nearly all of the probability: one at most does.
template <class T> SOFTSTEP_INLINE Mask<T> is_nearly_certain(Vec<T> log_p) {
  return (log_p > T(-0.0625)) & (log_p <= T(0));
}

} // namespace
} // namespace softstep::KERNEL_ISA
