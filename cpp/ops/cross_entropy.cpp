#include "ops/cross_entropy.hpp"

#include "ops/sum.hpp"
#include "ops/tiles.hpp"

namespace softstep::ops {
namespace {

template <class S, class Q> bool ignored(const CrossEntropyProblem<S, Q>& problem, Size row) {
  if (!problem.target)
    return false;
  for (Size k = 0; k < std::max<Size>(problem.points, 1); ++k)
    if (problem.target[k * problem.rows.rows + row] != kIgnoredRow)
      return false;
  return true;
}

} // namespace

template <class S, class Q>
MeanDenominators mean_denominators(const CrossEntropyProblem<S, Q>& problem) {
  if (!problem.target && !problem.sample_weight) {
    const auto rows = static_cast<double>(problem.rows.rows);
    return {rows, rows};
  }
  const bool weighs_classes = problem.weight && problem.points == 1 && !problem.mass;
  MeanDenominators sums{0, 0};
  for (Size row = 0; row < problem.rows.rows; ++row) {
    if (ignored(problem, row))
      continue;
    const double w = problem.sample_weight ? static_cast<double>(problem.sample_weight[row]) : 1;
    sums.z_loss += w;
    sums.loss += weighs_classes ? w * static_cast<double>(problem.weight[problem.target[row]]) : w;
  }
  return sums;
}

template <class S, class Q>
double cross_entropy(const CrossEntropyProblem<S, Q>& problem, const MeanDenominators& denominators,
                     const RowResults<Compute<S>>& results) {
  using T = Compute<S>;
  const bool mean = problem.reduction == Reduction::kMean;
  // A mean over nothing has the gradient 0, not NaN.
  const double upstream = !mean ? 1 : denominators.loss != 0 ? 1 / denominators.loss : 0;
  const double z_loss = !mean || denominators.z_loss == 0
                            ? problem.z_loss
                            : problem.z_loss * denominators.loss / denominators.z_loss;
  const auto& kernels = dispatch::active_for<S>();
  const bool needs_scratch = !std::is_same_v<S, T> && problem.rows.output.data;
  const auto on_tile = [&](const RowTile<S, Q>& tile) {
    const auto from = [&](auto* values) { return values ? values + tile.start : nullptr; };
    CrossEntropyTask<S> task{};
    task.logits = {tile.first.data, tile.first.stride};
    task.dlogits = tile.output;
    if constexpr (std::is_same_v<S, Q>)
      task.probabilities = {tile.second.data, tile.second.stride};
    else
      task.wide_probabilities = {tile.second.data, tile.second.stride};
    task.target = from(problem.target);
    task.mass = from(problem.mass);
    task.points = problem.points;
    task.point_stride = problem.rows.rows;
    task.weight = problem.weight;
    task.row_weight = from(problem.sample_weight);
    task.rows = tile.rows;
    task.cols = problem.rows.cols;
    task.scale = static_cast<T>(1 / problem.temperature);
    task.softcap = static_cast<T>(problem.softcap);
    task.label_smoothing = static_cast<T>(problem.label_smoothing);
    task.smooth_finite = problem.smoothing == Smoothing::kAllowed && problem.label_smoothing != 0;
    task.smooth_others =
        problem.smoothing == Smoothing::kExcludeTarget && problem.label_smoothing != 0;
    task.z_loss = static_cast<T>(z_loss);
    task.upstream = static_cast<T>(upstream);
    task.loss = from(results.loss);
    task.lse = from(results.lse);
    task.nll = from(results.nll);
    task.entropy = from(results.entropy);
    task.dtemperature = from(results.dtemperature);
    task.argmax = from(results.argmax);
    task.scratch = tile.scratch;
    kernels.cross_entropy[tile.shape]->cross_entropy(task);
  };
  for_each_tile(problem.rows, on_tile, needs_scratch ? 2 * problem.rows.cols : 0);
  if (problem.reduction == Reduction::kNone)
    return 0;
  const double sum = sum_in_order(results.loss, problem.rows.rows);
  return mean ? sum / denominators.loss : sum;
}

#define SOFTSTEP_INSTANTIATE(S, Q)                                                                 \
  template MeanDenominators mean_denominators(const CrossEntropyProblem<S, Q>&);                   \
  template double cross_entropy(const CrossEntropyProblem<S, Q>&, const MeanDenominators&,         \
                                const RowResults<Compute<S>>&);
SOFTSTEP_INSTANTIATE(float, float)
SOFTSTEP_INSTANTIATE(double, double)
SOFTSTEP_INSTANTIATE(Float16, Float16)
SOFTSTEP_INSTANTIATE(Float16, float)
SOFTSTEP_INSTANTIATE(BFloat16, BFloat16)
SOFTSTEP_INSTANTIATE(BFloat16, float)
#undef SOFTSTEP_INSTANTIATE

} // namespace softstep::ops
