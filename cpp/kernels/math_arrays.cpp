// The vector mathematics over arrays, for the accuracy tests.
#include "families.hpp"
#include "math.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <class T, Vec<T> (*kFunction)(Vec<T>)> void map(T* y, const T* x, Size size) noexcept {
  constexpr Size w = kLanes<T>;
  Size i = 0;
  for (; i + w <= size; i += w)
    store(y + i, kFunction(load(x + i)));
  if (i < size)
    partial_store(y + i, size - i, kFunction(partial_load(x + i, size - i, T(0.5))));
}

template <class T> SOFTSTEP_INLINE Vec<T> tanh_value(Vec<T> a) { return tanh<T>(a).value; }
template <class T> SOFTSTEP_INLINE Vec<T> tanh_slope(Vec<T> a) { return tanh<T>(a).slope; }

template <class T>
constexpr MathKernels<T> kTable = {map<T, exp<T>>, map<T, log<T>>, map<T, log1p<T>>,
                                   map<T, tanh_value<T>>, map<T, tanh_slope<T>>};

} // namespace

const MathKernels<float> math_f32 = kTable<float>;
const MathKernels<double> math_f64 = kTable<double>;

} // namespace softstep::KERNEL_ISA
