// What a loss function returns for the argument `reduction`.
#pragma once

#include "bindings/arrays.hpp"
#include "bindings/cross_entropy_options.hpp"

#include <limits>

namespace softstep::bindings {

// d(result) / d(one of `count` losses); a mean over nothing has the gradient 0.
inline double upstream_of(Reduction reduction, py::ssize_t count) {
  return reduction == Reduction::kMean && count > 0 ? 1 / static_cast<double>(count) : 1;
}

// A float, or for "none" the losses.
inline py::object reduced(Reduction reduction, double sum, py::ssize_t count,
                          const py::array& losses) {
  if (reduction == Reduction::kNone)
    return returned(losses);
  if (reduction == Reduction::kSum)
    return py::float_(sum);
  return py::float_(count > 0 ? sum / static_cast<double>(count)
                              : std::numeric_limits<double>::quiet_NaN());
}

} // namespace softstep::bindings
