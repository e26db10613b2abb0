// The cost model: which kernel shape runs, and how the rows are cut. The one place with its
// measured constants (docs/design/0002-dispatch.md, "Shapes").
#pragma once

#include "kernels/kernels.hpp"

#include <algorithm>
#include <cstddef>

namespace softstep::ops {

// Up to this many classes a row is cheaper in a lane than along the lanes, even when the tile has
// to be transposed first. It must be at least the lanes of the widest vector (16 float32): the row
// shape takes no shorter rows.
inline constexpr Size kLaneClasses = 32;

// One block of work: about 10 us, far above the cost of handing it out, small enough to balance.
inline constexpr Size kBlockElements = 32768;
inline constexpr Size kBlockRowMultiple = 64;

// Estimated time of one element in float32 on one core; float64 takes twice that.
inline constexpr double kRowElementNs = 0.3;
inline constexpr double kLaneElementNs = 0.6;

struct Plan {
  Shape shape;
  bool staged; // copied to a tile first, because no shape can walk the arrays as they lie
  Size rows_per_block, blocks;
  double cost_ns;
};

inline Plan plan_rows(Size rows, Size cols, std::size_t itemsize, bool classes_adjacent,
                      bool rows_adjacent, bool masked) {
  Plan plan{};
  if (cols <= kLaneClasses) {
    plan.shape = kLaneShape;
    plan.staged = masked || !rows_adjacent;
  } else if (masked || !rows_adjacent || classes_adjacent) {
    plan.shape = kRowShape;
    plan.staged = masked || !classes_adjacent;
  } else {
    plan.shape = kLaneShape;
  }
  const Size wanted = std::max<Size>(1, kBlockElements / std::max<Size>(cols, 1));
  const bool groups = plan.shape == kLaneShape;
  plan.rows_per_block =
      groups ? (wanted + kBlockRowMultiple - 1) / kBlockRowMultiple * kBlockRowMultiple : wanted;
  plan.blocks = (rows + plan.rows_per_block - 1) / plan.rows_per_block;
  plan.cost_ns = static_cast<double>(rows) * static_cast<double>(cols) *
                 (groups ? kLaneElementNs : kRowElementNs) * static_cast<double>(itemsize) / 4;
  return plan;
}

} // namespace softstep::ops
