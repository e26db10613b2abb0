// The cost model: which kernel shape runs, how work is cut, and what it takes. The one place with
// its measured constants, but for the price of a thread: kSerialBelowNs in parallel/parallel.hpp.
// Measured on an AMD EPYC (Zen 4); benchmarks/studies/cost_model.py measures each again.
#pragma once

#include "kernels/kernels.hpp"

#include <algorithm>
#include <cstddef>

namespace softstep::ops {

// Classes. Up to this many a row is cheaper in a lane than along the lanes, even when the tile has
// to be transposed first. It must be at least the lanes of the widest vector (16 float32): the row
// shape takes no shorter rows.
inline constexpr Size kLaneClasses = 32;
// log_softmax, logsumexp and entropy in float32. Their float64 loses by lanes there (x86_64_v2,
// v3).
inline constexpr Size kLogLaneClasses = 40;

// Up to so many rows, each of this many classes for every row, are shared by threads, a segment of
// classes each (docs/design/0007-row-kernels.md).
inline constexpr Size kSplitRows = 4, kSplitClasses = 262144, kSegmentClasses = 32768;

// Elements. One block of work: about 10 us, far above the cost of handing it out, small enough to
// balance.
inline constexpr Size kBlockElements = 32768;
inline constexpr Size kBlockRowMultiple = 64;

// Classes about a multiple of this many bytes apart lie in the same few sets of every cache: more
// of them than a set has ways evict each other between the sweeps, so they are copied to a tile
// first.
inline constexpr Size kAliasBytes = 1024, kAliasLine = 64;
inline constexpr Size kCacheWays = 8;

// Rows. Fewer adjacent ones leave lanes of a vector empty, and their tile would be mostly padding:
// more than a lane's classes, wherever they lie, are copied to a row instead.
inline constexpr Size kFewestLanes = 16;

// So many planes prefetchers follow by themselves.
inline constexpr Size kFollowedPlanes = 8;

inline bool aliases(Size cols, Size class_bytes) {
  const Size past = (class_bytes + kAliasLine) % kAliasBytes;
  return cols > kCacheWays && past >= 0 && past <= 2 * kAliasLine;
}

// Nanoseconds of one float32 element on one core, cached; float64 takes twice that. They decide
// from which size on threads are worth it (kSerialBelowNs), so a factor of 1.5 does not matter.
inline constexpr double kRowElementNs = 0.3;  // class axis, lanes along the row
inline constexpr double kLaneElementNs = 0.6; // class axis, one row per lane
inline constexpr double kMapElementNs = 0.2;  // element-wise: losses of pairs, streams, panels
inline constexpr double kSgdElementNs = 0.2;  // with momentum (docs/design/0005-optimizers.md)
inline constexpr double kAdamwElementNs = 0.4;
inline constexpr double kNormElementNs = 0.1; // sum of squares
inline constexpr double kTargetNs = 0.5;      // a class index, read and checked

struct Plan {
  Shape shape;
  bool staged; // copied to a tile first, because no shape can walk the arrays as they lie
  bool rests;  // rows that are left of a run of planes are copied to rows
  Size rows_per_block, blocks;
  double cost_ns;
};

// How the operands of a problem lie.
struct Layout {
  bool classes_adjacent, rows_adjacent, masked;
  bool half;        // which the lane shape does not read
  Size class_bytes; // from one class to the next, in the first operand
  Size run;         // rows that lie side by side
};

// lane_classes 0: in the row shape, whatever it takes.
inline Plan plan_rows(Size rows, Size cols, std::size_t itemsize, Layout layout,
                      Size lane_classes) {
  const auto [classes_adjacent, rows_adjacent, masked, half, class_bytes, run] = layout;
  Plan plan{};
  if (cols <= lane_classes) {
    plan.shape = kLaneShape;
    plan.staged = masked || !rows_adjacent;
  } else if (lane_classes == 0 || masked || !rows_adjacent || classes_adjacent ||
             run < kFewestLanes) {
    plan.shape = kRowShape;
    plan.staged = masked || !classes_adjacent;
  } else {
    plan.shape = kLaneShape;
  }
  if (plan.shape == kLaneShape && (half || (rows_adjacent && aliases(cols, class_bytes))))
    plan.staged = true;
  const Size wanted = std::max<Size>(1, kBlockElements / std::max<Size>(cols, 1));
  const bool groups = plan.shape == kLaneShape;
  plan.rows_per_block =
      groups ? (wanted + kBlockRowMultiple - 1) / kBlockRowMultiple * kBlockRowMultiple : wanted;
  plan.rests = groups && cols > lane_classes && run % kFewestLanes != 0;
  if (plan.rests && run < 2 * plan.rows_per_block) // a part of a run would leave rows over too
    plan.rows_per_block = std::max<Size>(1, plan.rows_per_block / run) * run;
  plan.blocks = (rows + plan.rows_per_block - 1) / plan.rows_per_block;
  plan.cost_ns = static_cast<double>(rows) * static_cast<double>(cols) *
                 (groups ? kLaneElementNs : kRowElementNs) * static_cast<double>(itemsize) / 4;
  return plan;
}

} // namespace softstep::ops
