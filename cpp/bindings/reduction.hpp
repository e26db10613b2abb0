// The argument `reduction`, and what a loss function returns for it.
#pragma once

#include "bindings/arrays.hpp"
#include "ops/cross_entropy.hpp"

#include <limits>
#include <string>

namespace softstep::bindings {

inline ops::Reduction reduction_of(const std::string& name) {
  if (name == "mean")
    return ops::Reduction::kMean;
  if (name == "sum")
    return ops::Reduction::kSum;
  if (name == "none")
    return ops::Reduction::kNone;
  throw py::value_error("reduction: expected 'none', 'sum' or 'mean', got '" + name + "'");
}

// d(result) / d(one of `count` losses); a mean over nothing has the gradient 0.
inline double upstream_of(ops::Reduction reduction, py::ssize_t count) {
  return reduction == ops::Reduction::kMean && count > 0 ? 1 / static_cast<double>(count) : 1;
}

// A float, or for "none" the losses; a single loss is a float too.
inline py::object reduced(ops::Reduction reduction, double sum, py::ssize_t count,
                          const py::array& losses) {
  if (reduction == ops::Reduction::kNone)
    return losses.ndim() == 0 ? py::object(py::float_(sum)) : py::object(losses);
  if (reduction == ops::Reduction::kSum)
    return py::float_(sum);
  return py::float_(count > 0 ? sum / static_cast<double>(count)
                              : std::numeric_limits<double>::quiet_NaN());
}

} // namespace softstep::bindings
