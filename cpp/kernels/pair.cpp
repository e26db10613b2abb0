// Losses of pairs (prediction, target), element by element: squared error and the binary hinge.
#include "families.hpp"
#include "vector_sweep.hpp"
#include "wide_sum.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <class T> struct LossAndGradient {
  Vec<T> loss, gradient;
};

// (p - y)^2
template <class T> struct SquaredError {
  Vec<T> twice_upstream;

  SOFTSTEP_INLINE explicit SquaredError(const PairTask<T>& task)
      : twice_upstream(broadcast(T(2) * task.upstream)) {}

  SOFTSTEP_INLINE LossAndGradient<T> operator()(Vec<T> prediction, Vec<T> target) const {
    const Vec<T> difference = prediction - target;
    return {difference * difference, difference * twice_upstream};
  }
};

// max(0, margin - y s); no gradient at the kink. max() would hide a NaN.
template <class T> struct BinaryHinge {
  Vec<T> margin, upstream;

  SOFTSTEP_INLINE explicit BinaryHinge(const PairTask<T>& task)
      : margin(broadcast(task.margin)), upstream(broadcast(task.upstream)) {}

  SOFTSTEP_INLINE LossAndGradient<T> operator()(Vec<T> score, Vec<T> target) const {
    const Vec<T> loss = margin - target * score;
    const Vec<T> slope = select<T>(loss == loss, -target * upstream, loss);
    return {select<T>(loss <= T(0), Vec<T>{}, loss), select<T>(loss <= T(0), Vec<T>{}, slope)};
  }
};

template <class T, template <class> class Loss> double map_pairs(const PairTask<T>& task) noexcept {
  const Loss<T> loss_of(task);
  WideSum<T> sum[kUnroll];
  sweep_vectors<T>(task.size, [&](auto access, Size i, Size k) {
    const auto [loss, gradient] =
        loss_of(access.load_from(task.prediction + i), access.load_from(task.target + i));
    if (task.loss)
      access.store_to(task.loss + i, loss);
    if (task.gradient)
      access.store_to(task.gradient + i, gradient);
    sum[k].add(access.inside(loss));
  });
  return total(sum);
}

template <class T>
constexpr PairKernels<T> kTable = {map_pairs<T, SquaredError>, map_pairs<T, BinaryHinge>};

} // namespace

const PairKernels<float> pair_f32 = kTable<float>;
const PairKernels<double> pair_f64 = kTable<double>;

} // namespace softstep::KERNEL_ISA
