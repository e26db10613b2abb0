#include "ops/sgd.hpp"

#include "dispatch/dispatch.hpp"
#include "ops/sum.hpp"

namespace softstep::ops {
namespace {

template <class T> void step_block(const SgdTensor<T>& tensor, Size block, SgdOptions options) {
  options.first = tensor.first;
  const SgdKernels<T>& kernels = *dispatch::active_for<T>().sgd;
  tensor.elements.run_block(block, [&](const auto& at, Size n) {
    const auto [param, grad, buffer] = at;
    kernels.step({param, grad, buffer, n}, options);
  });
}

template <class T> double norm_block(const Elements<T, 1>& elements, Size block) {
  const SgdKernels<T>& kernels = *dispatch::active_for<T>().sgd;
  double sum = 0;
  elements.run_block(block,
                     [&](const auto& at, Size n) { sum += kernels.sum_of_squares(at[0], n); });
  return sum;
}

} // namespace

void sgd_step(const SgdTensors& tensors, const SgdOptions& options) {
  BlockNumbers numbers;
  for (const auto& tensor : tensors.float32)
    numbers.add(tensor.elements);
  for (const auto& tensor : tensors.float64)
    numbers.add(tensor.elements);
  const std::size_t floats = tensors.float32.size();
  parallel::for_each_block(numbers.count(), numbers.cost_ns(), [&](std::int64_t number, int) {
    const auto [k, block] = numbers.find(number);
    if (k < floats)
      step_block(tensors.float32[k], block, options);
    else
      step_block(tensors.float64[k - floats], block, options);
  });
}

double sum_of_squares(const NormTensors& tensors) {
  BlockNumbers numbers;
  for (const auto& elements : tensors.float32)
    numbers.add(elements);
  for (const auto& elements : tensors.float64)
    numbers.add(elements);
  const std::size_t floats = tensors.float32.size();
  std::vector<double> sums(static_cast<std::size_t>(numbers.count()));
  parallel::for_each_block(numbers.count(), numbers.cost_ns(), [&](std::int64_t number, int) {
    const auto [k, block] = numbers.find(number);
    sums[static_cast<std::size_t>(number)] = k < floats
                                                 ? norm_block(tensors.float32[k], block)
                                                 : norm_block(tensors.float64[k - floats], block);
  });
  return sum_in_order(sums.data(), static_cast<Size>(sums.size()));
}

} // namespace softstep::ops
