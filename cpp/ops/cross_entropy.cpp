#include "ops/cross_entropy.hpp"

#include "dispatch/dispatch.hpp"
#include "ops/sum.hpp"

namespace softstep::ops {

template <class T> MeanDenominators mean_denominators(const CrossEntropyProblem<T>& problem) {
  const bool by_class = !problem.rows.operands[RowProblem<T>::kSecond].data;
  if (!problem.target && !problem.sample_weight) {
    const auto rows = static_cast<double>(problem.rows.rows);
    return {rows, rows};
  }
  MeanDenominators sums{0, 0};
  for (Size row = 0; row < problem.rows.rows; ++row) {
    const std::int32_t target = problem.target ? problem.target[row] : 0;
    if (target == kIgnoredRow)
      continue;
    const double w = problem.sample_weight ? static_cast<double>(problem.sample_weight[row]) : 1;
    sums.z_loss += w;
    sums.loss += by_class && problem.weight ? w * static_cast<double>(problem.weight[target]) : w;
  }
  return sums;
}

template <class T>
double cross_entropy(const CrossEntropyProblem<T>& problem, const MeanDenominators& denominators,
                     T* loss) {
  const bool mean = problem.reduction == Reduction::kMean;
  // A mean over nothing has the gradient 0, not NaN.
  const double upstream = !mean ? 1 : denominators.loss != 0 ? 1 / denominators.loss : 0;
  const double z_loss = !mean || denominators.z_loss == 0
                            ? problem.z_loss
                            : problem.z_loss * denominators.loss / denominators.z_loss;
  const KernelsOf<T>& kernels = dispatch::active_for<T>();
  for_each_tile(problem.rows, *kernels.transpose, [&](const RowTile<T>& tile) {
    const auto& [logits, probabilities, dlogits] = tile.operands;
    CrossEntropyTask<T> task{};
    task.logits = {logits.data, logits.stride};
    task.probabilities = {probabilities.data, probabilities.stride};
    task.dlogits = dlogits;
    task.target = problem.target ? problem.target + tile.first : nullptr;
    task.weight = problem.weight;
    task.row_weight = problem.sample_weight ? problem.sample_weight + tile.first : nullptr;
    task.loss = loss + tile.first;
    task.rows = tile.rows;
    task.cols = problem.rows.cols;
    task.scale = static_cast<T>(1 / problem.temperature);
    task.label_smoothing = static_cast<T>(problem.label_smoothing);
    task.z_loss = static_cast<T>(z_loss);
    task.upstream = static_cast<T>(upstream);
    kernels.cross_entropy[tile.shape]->cross_entropy(task);
  });
  if (problem.reduction == Reduction::kNone)
    return 0;
  const double sum = sum_in_order(loss, problem.rows.rows);
  return mean ? sum / denominators.loss : sum;
}

template MeanDenominators mean_denominators(const CrossEntropyProblem<float>&);
template MeanDenominators mean_denominators(const CrossEntropyProblem<double>&);
template double cross_entropy(const CrossEntropyProblem<float>&, const MeanDenominators&, float*);
template double cross_entropy(const CrossEntropyProblem<double>&, const MeanDenominators&, double*);

} // namespace softstep::ops
