#include "ops/cross_entropy.hpp"

#include "dispatch/dispatch.hpp"
#include "ops/segments.hpp"
#include "ops/sum.hpp"
#include "ops/weights.hpp"

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
      any |= problem.target[k * problem.point_stride + row] != kIgnoredRow;
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

// What the loss and the gradient of a row count in the result.
struct Factors {
  double upstream = 1, z_loss = 0;
};

template <class S, class Q>
Factors factors_of(const CrossEntropyProblem<S, Q>& problem, const MeanDenominators& denominators) {
  if (problem.options.reduction != Reduction::kMean)
    return {1, problem.options.z_loss};
  // A mean over nothing has the gradient 0, not NaN.
  const double upstream = denominators.loss != 0 ? 1 / denominators.loss : 0;
  const double ratio = denominators.z_loss == 0 ? 1 : denominators.loss / denominators.z_loss;
  return {upstream, problem.options.z_loss * ratio};
}

template <class S, class Q> double scale_of(const CrossEntropyProblem<S, Q>& problem) {
  return static_cast<double>(static_cast<Compute<S>>(1 / problem.options.temperature));
}

template <class Problem, class S, class Q>
CrossEntropyTask<S> task_of(const Problem& problem, const RowTile<S, Q>& tile,
                            const Factors& factors, const RowResults<Compute<S>>& results) {
  using T = Compute<S>;
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
  task.point_stride = problem.point_stride;
  task.first = problem.first;
  task.weight = problem.weight;
  task.row_weight = from(problem.sample_weight);
  task.rows = tile.rows;
  task.cols = problem.rows.cols;
  for_each_option([]<class Option>(const char*, const auto& option,
                                   Option& to) { to = static_cast<Option>(option); },
                  problem.options, task.options);
  task.options.z_loss = static_cast<T>(factors.z_loss);
  task.scale = static_cast<T>(1 / problem.options.temperature);
  task.upstream = static_cast<T>(factors.upstream);
  task.loss = from(results.loss);
  task.lse = from(results.lse);
  task.nll = from(results.nll);
  task.entropy = from(results.entropy);
  task.dtemperature = from(results.dtemperature);
  task.argmax = from(results.argmax);
  task.scratch = tile.scratch;
  task.far = tile.far;
  return task;
}

template <class S>
void take_segment(CrossEntropyTask<S>& task, const Segment& segment, RowSums* sums) {
  task.first += segment.begin;
  task.cols = segment.cols;
  if (task.weight)
    task.weight += segment.begin;
  task.sums = sums;
}

template <class T> bool segments_can(const RowResults<T>& results) {
  return !results.entropy && !results.dtemperature && !results.argmax;
}

template <class S, class Q>
double reduced(const CrossEntropyProblem<S, Q>& problem, const MeanDenominators& denominators,
               const RowResults<Compute<S>>& results) {
  if (problem.options.reduction == Reduction::kNone)
    return 0;
  const double sum = sum_in_order(results.loss, problem.rows.rows);
  return problem.options.reduction == Reduction::kMean ? sum / denominators.loss : sum;
}

} // namespace

template <class S, class Q>
MeanDenominators mean_denominators(const CrossEntropyProblem<S, Q>& problem) {
  const bool weighs_classes = problem.weight && problem.by_class();
  const auto row_weight = [&](Size row) {
    return problem.sample_weight ? static_cast<double>(problem.sample_weight[row]) : 1;
  };
  const double rows = problem.sample_weight ? sum_kept(problem, row_weight) : count_kept(problem);
  const auto weight = [&](Size row) {
    const Size c = problem.target[row] - problem.first;
    const bool here = c >= 0 && c < problem.rows.cols;
    return here ? row_weight(row) * static_cast<double>(problem.weight[c]) : 0;
  };
  return {weighs_classes ? sum_kept(problem, weight) : rows, rows};
}

template <class S, class Q>
double cross_entropy(const CrossEntropyProblem<S, Q>& problem, const MeanDenominators& denominators,
                     const RowResults<Compute<S>>& results) {
  if (const WeightsNearOne near(problem, denominators); near.changed()) {
    const double loss = cross_entropy(near.of(problem), near.denominators, results);
    near.restore(results.dtemperature, problem.rows.rows);
    return loss;
  }
  if (segments_of(problem.rows) > 1 && segments_can(results)) {
    std::vector<RowSums> sums(static_cast<std::size_t>(problem.rows.rows));
    sweep_cross_entropy(problem, sums.data());
    return finish_cross_entropy(problem, denominators, sums.data(), results);
  }
  const bool needs_scratch = !std::is_same_v<S, Compute<S>> && problem.rows.output.data;
  const auto factors = factors_of(problem, denominators);
  const auto on_tile = [&]<class Tile>(const Tile& tile) {
    const auto& kernels = *dispatch::active_for<typename Tile::Scalar>().cross_entropy[tile.shape];
    kernels.cross_entropy(task_of(problem, tile, factors, results));
  };
  const Size lane_classes = dispatch::active_for<S>().cross_entropy[kRowShape]->lane_classes(
      task_of(problem, RowTile<S, Q>{}, factors, results));
  for_each_tile(problem.rows, {lane_classes, needs_scratch ? 2 * problem.rows.cols : 0}, on_tile);
  return reduced(problem, denominators, results);
}

template <class S, class Q>
void sweep_cross_entropy(const CrossEntropyProblem<S, Q>& given, RowSums* sums) {
  // What other segments have is not known here, but the sums are double.
  const NearOne<Compute<S>> classes(given.weight, given.rows.cols,
                                    largest_of(given.weight, given.rows.cols));
  auto problem = given;
  problem.weight = classes.data();
  const auto sweep = dispatch::active_for<S>().cross_entropy[kRowShape]->sweep;
  const auto on_segment = [&](const RowTile<S, Q>& tile, const Segment& segment, RowSums* to) {
    auto task = task_of(problem, tile, {}, {});
    take_segment(task, segment, to);
    sweep(task);
  };
  sweep_segments(problem.rows, scale_of(problem), sums, on_segment);
  if (classes.factor() != 1)
    scale_masses(sums, problem.rows.rows, 1 / classes.factor());
}

template <class S, class Q>
double finish_cross_entropy(const CrossEntropyProblem<S, Q>& problem,
                            const MeanDenominators& denominators, RowSums* sums,
                            const RowResults<Compute<S>>& results) {
  if (const WeightsNearOne near(problem, denominators); near.changed()) {
    scale_masses(sums, problem.rows.rows, near.classes.factor());
    return finish_cross_entropy(near.of(problem), near.denominators, sums, results);
  }
  const auto finish = dispatch::active_for<S>().cross_entropy[kRowShape]->finish;
  const auto factors = factors_of(problem, denominators);
  for_each_segment(problem.rows, [&](const RowTile<S, Q>& tile, const Segment& segment) {
    auto task =
        task_of(problem, tile, factors, segment.number == 0 ? results : RowResults<Compute<S>>{});
    take_segment(task, segment, sums + tile.start);
    finish(task);
  });
  return reduced(problem, denominators, results);
}

#define SOFTSTEP_INSTANTIATE(S, Q)                                                                 \
  template MeanDenominators mean_denominators(const CrossEntropyProblem<S, Q>&);                   \
  template double cross_entropy(const CrossEntropyProblem<S, Q>&, const MeanDenominators&,         \
                                const RowResults<Compute<S>>&);                                    \
  template void sweep_cross_entropy(const CrossEntropyProblem<S, Q>&, RowSums*);                   \
  template double finish_cross_entropy(const CrossEntropyProblem<S, Q>&, const MeanDenominators&,  \
                                       RowSums*, const RowResults<Compute<S>>&);
SOFTSTEP_FOR_ROW_PROBLEMS(SOFTSTEP_INSTANTIATE)
#undef SOFTSTEP_INSTANTIATE

} // namespace softstep::ops
