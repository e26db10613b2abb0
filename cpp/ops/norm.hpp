// The squared norm of a list of tensors, in one parallel region.
#pragma once

#include "ops/elements.hpp"

#include <vector>

namespace softstep::ops {

struct NormTensors {
  std::vector<Elements<float, 1>> float32;
  std::vector<Elements<double, 1>> float64;
};

double sum_of_squares(const NormTensors& tensors);

} // namespace softstep::ops
