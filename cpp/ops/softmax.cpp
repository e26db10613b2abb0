#include "ops/softmax.hpp"

#include "ops/tiles.hpp"

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

} // namespace

template <class S>
void softmax_family(SoftmaxOp op, const RowProblem<S>& problem, S* row_result, double temperature) {
  const auto& kernels = dispatch::active_for<S>();
  const typename SoftmaxKernels<S>::Kernel by_shape[kShapes] = {
      kernel_of(op, *kernels.softmax[kRowShape]), kernel_of(op, *kernels.softmax[kLaneShape])};
  for_each_tile(problem, {}, [&](const RowTile<S>& tile) {
    by_shape[tile.shape]({{tile.first.data, tile.first.stride},
                          {tile.second.data, tile.second.stride},
                          tile.output,
                          row_result ? row_result + tile.start : nullptr,
                          tile.rows,
                          problem.cols,
                          static_cast<Compute<S>>(1 / temperature)});
  });
}

template void softmax_family(SoftmaxOp, const RowProblem<float>&, float*, double);
template void softmax_family(SoftmaxOp, const RowProblem<double>&, double*, double);
template void softmax_family(SoftmaxOp, const RowProblem<Float16>&, Float16*, double);
template void softmax_family(SoftmaxOp, const RowProblem<BFloat16>&, BFloat16*, double);

} // namespace softstep::ops
