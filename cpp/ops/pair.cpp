#include "ops/pair.hpp"

#include "dispatch/dispatch.hpp"

namespace softstep::ops {

template <class T>
double pair_loss(PairLoss loss, const PairElements<T>& elements, double margin, double upstream) {
  const PairKernels<T>& kernels = *dispatch::active_for<T>().pair;
  const auto kernel =
      loss == PairLoss::kSquaredError ? kernels.squared_error : kernels.binary_hinge;
  return sum_over_elements(elements, [&](const auto& at, Size n) {
    const auto [prediction, target, losses, gradient] = at;
    return kernel({prediction, target, losses, gradient, n, static_cast<T>(margin),
                   static_cast<T>(upstream)});
  });
}

template <class T> bool all_signs(const Elements<T, 1>& target) {
  return sum_over_elements(target, [](const auto& at, Size n) {
           Size others = 0;
           for (Size i = 0; i < n; ++i)
             others += !(at[0][i] == T(1) || at[0][i] == T(-1));
           return static_cast<double>(others);
         }) == 0;
}

template double pair_loss(PairLoss, const PairElements<float>&, double, double);
template double pair_loss(PairLoss, const PairElements<double>&, double, double);
template bool all_signs(const Elements<float, 1>&);
template bool all_signs(const Elements<double, 1>&);

} // namespace softstep::ops
