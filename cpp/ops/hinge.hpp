// Multi-class hinge (Crammer-Singer) over rows.
#pragma once

#include "ops/rows.hpp"

#include <cstdint>

namespace softstep::ops {

template <class T> struct HingeProblem {
  RowProblem<T> rows;         // operands: scores, nothing, dscores or nothing
  const std::int32_t* target; // checked
  double margin;
  double upstream; // d(result) / d(loss of a row)
};

// Writes loss[row] and dscores, and returns the sum of the losses.
template <class T> double hinge(const HingeProblem<T>& problem, T* loss);

} // namespace softstep::ops
