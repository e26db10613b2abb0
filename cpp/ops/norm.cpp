#include "ops/norm.hpp"

#include "dispatch/dispatch.hpp"
#include "ops/sum.hpp"

namespace softstep::ops {
namespace {

template <class T> double norm_block(const Elements<T, 1>& elements, Size block) {
  const NormKernels<T>& kernels = *dispatch::active_for<T>().norm;
  double sum = 0;
  elements.run_block(block,
                     [&](const auto& at, Size n) { sum += kernels.sum_of_squares(at[0], n); });
  return sum;
}

} // namespace

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
