// The SGD step and the squared norm over a list of tensors, in one parallel region.
#pragma once

#include "ops/elements.hpp"

#include <vector>

namespace softstep::ops {

template <class T> struct SgdTensor {
  Elements<T, 3> elements; // parameter, gradient, momentum buffer or nothing
  bool first;              // the buffer holds nothing yet
};

struct SgdTensors {
  std::vector<SgdTensor<float>> float32;
  std::vector<SgdTensor<double>> float64;
};

// options.first is set for each tensor.
void sgd_step(const SgdTensors& tensors, const SgdOptions& options);

struct NormTensors {
  std::vector<Elements<float, 1>> float32;
  std::vector<Elements<double, 1>> float64;
};

double sum_of_squares(const NormTensors& tensors);

} // namespace softstep::ops
