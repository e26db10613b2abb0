#include "ops/softmax.hpp"

#include "dispatch/dispatch.hpp"
#include "ops/segments.hpp"

namespace softstep::ops {
namespace {

template <class S>
typename SoftmaxKernels<S>::Kernel kernel_of(SoftmaxOp op, const SoftmaxKernels<S>& kernels) {
  switch (op) {
  case SoftmaxOp::kSoftmax:
    return kernels.softmax;
  case SoftmaxOp::kLogSoftmax:
    return kernels.log_softmax;
  case SoftmaxOp::kLogSumExp:
    return kernels.logsumexp;
  case SoftmaxOp::kEntropy:
    return kernels.entropy;
  case SoftmaxOp::kSoftmaxBackward:
    return kernels.softmax_backward;
  case SoftmaxOp::kLogSoftmaxBackward:
    return kernels.log_softmax_backward;
  }
  return nullptr;
}

template <class S> Size lane_classes_of(SoftmaxOp op) {
  const bool takes_logs =
      op == SoftmaxOp::kLogSoftmax || op == SoftmaxOp::kLogSumExp || op == SoftmaxOp::kEntropy;
  return std::is_same_v<S, float> && takes_logs ? kLogLaneClasses : kLaneClasses;
}

// Of a tile of rows that lie in memory as type Stored.
template <class Stored, class S>
SoftmaxTask<S> task_of(const RowTile<S>& tile, Size cols, Compute<S>* row_result,
                       double temperature) {
  return {{tile.first.data, tile.first.stride},
          {tile.second.data, tile.second.stride},
          tile.output,
          row_result ? row_result + tile.start : nullptr,
          tile.rows,
          cols,
          static_cast<Compute<S>>(1 / temperature),
          static_cast<Compute<S>>(ProbabilityRounding<Stored>::value),
          tile.scratch,
          tile.far,
          nullptr};
}

template <class S>
typename SoftmaxKernels<S>::Kernel segment_kernel_of(SoftmaxOp op,
                                                     const SoftmaxKernels<S>& kernels) {
  return op == SoftmaxOp::kSoftmax      ? kernels.softmax_segment
         : op == SoftmaxOp::kLogSoftmax ? kernels.log_softmax_segment
         : op == SoftmaxOp::kLogSumExp  ? kernels.logsumexp_segment
                                        : nullptr;
}

// False: the rows are not for segments.
template <class S>
bool run_segments(SoftmaxOp op, const RowProblem<S>& problem, Compute<S>* row_result,
                  double temperature) {
  const auto& kernels = dispatch::active_for<S>();
  const auto finish = segment_kernel_of(op, *kernels.softmax[kRowShape]);
  if (!finish || segments_of(problem) == 1)
    return false;
  const auto scale = static_cast<Compute<S>>(1 / temperature);
  const auto sweep = [&](const RowTile<S>& tile, const Segment& segment, RowSums* sums) {
    CrossEntropyTask<S> task{};
    task.logits = {tile.first.data, tile.first.stride};
    task.rows = tile.rows;
    task.cols = segment.cols;
    task.scale = scale;
    task.sums = sums;
    kernels.cross_entropy[kRowShape]->sweep(task);
  };
  std::vector<RowSums> sums(static_cast<std::size_t>(problem.rows));
  sweep_segments(problem, static_cast<double>(scale), sums.data(), sweep);
  for_each_segment(problem, [&](const RowTile<S>& tile, const Segment& segment) {
    if (!problem.output.data && segment.number > 0)
      return;
    auto task = task_of<S>(tile, segment.cols, row_result, temperature);
    task.sums = sums.data() + tile.start;
    finish(task);
  });
  return true;
}

template <class S>
void run(SoftmaxOp op, const RowProblem<S>& problem, Compute<S>* row_result, double temperature) {
  if (run_segments(op, problem, row_result, temperature))
    return;
  const bool needs_scratch = !std::is_same_v<S, Compute<S>> && op == SoftmaxOp::kSoftmax;
  const TileOptions options{lane_classes_of<S>(op), needs_scratch ? 2 * problem.cols : 0};
  for_each_tile(problem, options, [&]<class Tile>(const Tile& tile) {
    const auto& kernels = *dispatch::active_for<typename Tile::Scalar>().softmax[tile.shape];
    kernel_of(op, kernels)(task_of<S>(tile, problem.cols, row_result, temperature));
  });
}

} // namespace

template <class S>
void softmax_family(SoftmaxOp op, const RowProblem<S>& problem, S* row_result, double temperature) {
  if constexpr (std::is_same_v<S, Compute<S>>) {
    run(op, problem, row_result, temperature);
  } else {
    std::vector<Compute<S>> wide(row_result ? static_cast<std::size_t>(problem.rows) : 0);
    run(op, problem, row_result ? wide.data() : nullptr, temperature);
    if (row_result)
      dispatch::active_for<S>().half->narrow(row_result, wide.data(), problem.rows);
  }
}

template void softmax_family(SoftmaxOp, const RowProblem<float>&, float*, double);
template void softmax_family(SoftmaxOp, const RowProblem<double>&, double*, double);
template void softmax_family(SoftmaxOp, const RowProblem<Float16>&, Float16*, double);
template void softmax_family(SoftmaxOp, const RowProblem<BFloat16>&, BFloat16*, double);

} // namespace softstep::ops
