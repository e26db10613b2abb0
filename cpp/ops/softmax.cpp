#include "ops/softmax.hpp"

#include "dispatch/dispatch.hpp"

namespace softstep::ops {
namespace {

template <class T>
typename SoftmaxKernels<T>::Kernel kernel_of(SoftmaxOp op, const SoftmaxKernels<T>& kernels) {
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

template <class T>
void softmax_family(SoftmaxOp op, const RowProblem<T>& problem, T* row_result, double temperature) {
  const KernelsOf<T>& kernels = dispatch::active_for<T>();
  const typename SoftmaxKernels<T>::Kernel by_shape[kShapes] = {
      kernel_of(op, *kernels.softmax[kRowShape]), kernel_of(op, *kernels.softmax[kLaneShape])};
  for_each_tile(problem, *kernels.transpose, [&](const RowTile<T>& tile) {
    const auto& [x, dy, y] = tile.operands;
    by_shape[tile.shape]({{x.data, x.stride},
                          {dy.data, dy.stride},
                          y,
                          row_result ? row_result + tile.first : nullptr,
                          tile.rows,
                          problem.cols,
                          static_cast<T>(1 / temperature)});
  });
}

template void softmax_family(SoftmaxOp, const RowProblem<float>&, float*, double);
template void softmax_family(SoftmaxOp, const RowProblem<double>&, double*, double);

} // namespace softstep::ops
