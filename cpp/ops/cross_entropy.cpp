#include "ops/cross_entropy.hpp"

#include "ops/sum.hpp"
#include "ops/tiles.hpp"

#include <algorithm>
#include <vector>

namespace softstep::ops {
namespace {

// The sum over the rows that are not ignored of weight_of(row); in blocks that depend on the number
// of rows only.
template <class S, class Q, class Weight>
double sum_kept(const CrossEntropyProblem<S, Q>& problem, Weight weight_of) {
  constexpr Size kBlock = 16384;
  const Size rows = problem.rows.rows,
             points = problem.target ? std::max<Size>(problem.points, 1) : 0;
  std::vector<double> sums(static_cast<std::size_t>((rows + kBlock - 1) / kBlock));
  const auto kept = [&](Size row) {
    bool any = points == 0;
    for (Size k = 0; k < points; ++k)
      any |= problem.target[k * rows + row] != kIgnoredRow;
    return any;
  };
  const double cost_ns = static_cast<double>(rows * std::max<Size>(points, 1));
  parallel::for_each_block(static_cast<Size>(sums.size()), cost_ns, [&](Size block, int) {
    double sum = 0;
    for (Size row = block * kBlock; row < std::min(rows, (block + 1) * kBlock); ++row)
      if (kept(row))
        sum += weight_of(row);
    sums[static_cast<std::size_t>(block)] = sum;
  });
  return sum_in_order(sums.data(), static_cast<Size>(sums.size()));
}

template <class S, class Q> double count_kept(const CrossEntropyProblem<S, Q>& problem) {
  const Size rows = problem.rows.rows;
  if (!problem.target)
    return static_cast<double>(rows);
  if (problem.points > 1)
    return sum_kept(problem, [](Size) { return 1.0; });
  const auto kept = rows - std::count(problem.target, problem.target + rows, kIgnoredRow);
  return static_cast<double>(kept);
}

} // namespace

template <class S, class Q>
MeanDenominators mean_denominators(const CrossEntropyProblem<S, Q>& problem) {
  const bool weighs_classes = problem.weight && problem.points == 1 && !problem.mass;
  const auto row_weight = [&](Size row) {
    return problem.sample_weight ? static_cast<double>(problem.sample_weight[row]) : 1;
  };
  const double rows = problem.sample_weight ? sum_kept(problem, row_weight) : count_kept(problem);
  const auto weight = [&](Size row) {
    return row_weight(row) * static_cast<double>(problem.weight[problem.target[row]]);
  };
  return {weighs_classes ? sum_kept(problem, weight) : rows, rows};
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
  for_each_tile(problem.rows, {kCrossEntropyLaneClasses, needs_scratch ? 2 * problem.rows.cols : 0},
                on_tile);
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
