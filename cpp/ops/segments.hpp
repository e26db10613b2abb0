// Segments of the classes: rows so few and long that threads share each of them, and rows whose
// other classes are in another process. A sweep finds the sums of each segment, which are added in
// their order; then each segment is finished with the sums of the whole row.
#pragma once

#include "ops/row_sums.hpp"
#include "ops/tiles.hpp"
#include "parallel/parallel.hpp"

#include <vector>

namespace softstep::ops {

template <class S, class Q> Size segments_of(const RowProblem<S, Q>& problem) {
  const bool splits = problem.rows <= kSplitRows && problem.cols >= problem.rows * kSplitClasses &&
                      problem.classes_adjacent() && !problem.mask.data;
  return splits ? (problem.cols + kSegmentClasses - 1) / kSegmentClasses : 1;
}

// Classes [begin, begin + cols) of a tile's rows; `number` counts the segments of a row.
struct Segment {
  Size number, begin, cols;
};

// Calls kernel(tile, segment) for all rows and their segments once, in parallel, in the row shape.
template <class S, class Q, class Kernel>
void for_each_segment(const RowProblem<S, Q>& problem, Kernel&& kernel) {
  const Size segments = segments_of(problem);
  if (segments == 1)
    return for_each_tile(problem, {.lane_classes = 0}, [&]<class Tile>(const Tile& tile) {
      if constexpr (std::is_same_v<Tile, RowTile<S, Q>>) // so it is in the row shape
        kernel(tile, Segment{0, 0, problem.cols});
    });
  const double cost_ns = static_cast<double>(problem.rows) * static_cast<double>(problem.cols) *
                         kRowElementNs * sizeof(Compute<S>) / 4;
  parallel::for_each_block(problem.rows * segments, cost_ns, [&](std::int64_t block, int) {
    const Size row = block / segments, number = block % segments, begin = number * kSegmentClasses;
    const auto part = [&]<class T>(const Operand<T>& operand) {
      return Matrix<T>{operand.data ? problem.row(operand, row) + begin : nullptr, 0};
    };
    kernel(RowTile<S, Q>{kRowShape, row, 1, part(problem.first), part(problem.second),
                         part(problem.output)},
           Segment{number, begin, std::min(kSegmentClasses, problem.cols - begin)});
  });
}

// The sums of all rows, one kernel sweep(tile, segment, sums) a segment.
template <class S, class Q, class Sweep>
void sweep_segments(const RowProblem<S, Q>& problem, double scale, RowSums* sums, Sweep&& sweep) {
  const Size segments = segments_of(problem);
  std::vector<RowSums> parts(static_cast<std::size_t>(segments > 1 ? problem.rows * segments : 0));
  for_each_segment(problem, [&](const RowTile<S, Q>& tile, const Segment& segment) {
    sweep(tile, segment,
          segments == 1 ? sums + tile.start
                        : parts.data() + tile.start * segments + segment.number);
  });
  for (Size row = 0; segments > 1 && row < problem.rows; ++row) {
    const RowSums* part = parts.data() + row * segments;
    sums[row] = part[0];
    for (Size number = 1; number < segments; ++number)
      add_sums(sums[row], part[number], scale);
  }
}

} // namespace softstep::ops
