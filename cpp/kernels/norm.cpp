// The squared 2-norm, for clipping and for the L2 penalty.
#include "families.hpp"
#include "vector_sweep.hpp"
#include "wide_sum.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <class T> double sum_of_squares(const T* x, Size size) noexcept {
  WideSum<T> sum[kUnroll];
  sweep_vectors<T>(
      size, [&](auto access, Size i, Size k) { sum[k].add_square(access.load_from(x + i)); });
  return total(sum);
}

template <class T> constexpr NormKernels<T> kTable = {sum_of_squares<T>};

} // namespace

const NormKernels<float> norm_f32 = kTable<float>;
const NormKernels<double> norm_f64 = kTable<double>;

} // namespace softstep::KERNEL_ISA
