// Runs a kernel over all rows of a problem: the shape that fits, blocks, threads.
#pragma once

#include "ops/cost.hpp"
#include "ops/rows.hpp"

#include <memory>
#include <type_traits>

namespace softstep::ops {

// What an operation asks of its tiles.
struct TileOptions {
  Size lane_classes = kLaneClasses;
  Size scratch_size = 0; // floats of each worker, for tiles in the row shape
};

// What an operation does with a tile: a RowTile<S, Q>, or in the lane shape one of their Compute
// types. A reference: the walk over the tiles is compiled once for all operations.
template <class S, class Q> class TileKernel {
  using Narrow = RowTile<S, Q>;
  using Wide = RowTile<Compute<S>, Compute<Q>>;

public:
  template <class Kernel>
  explicit TileKernel(const Kernel& kernel)
      : kernel_(std::addressof(kernel)), narrow_(call<Kernel, Narrow>), wide_(call<Kernel, Wide>) {}

  void operator()(const Narrow& tile) const { narrow_(kernel_, tile); }
  void operator()(const Wide& tile) const
    requires(!std::is_same_v<Narrow, Wide>)
  {
    wide_(kernel_, tile);
  }

private:
  template <class Kernel, class Tile> static void call(const void* kernel, const Tile& tile) {
    (*static_cast<const Kernel*>(kernel))(tile);
  }

  const void* kernel_;
  void (*narrow_)(const void*, const Narrow&);
  void (*wide_)(const void*, const Wide&);
};

template <class S, class Q>
void run_tiles(const RowProblem<S, Q>& problem, TileOptions options, TileKernel<S, Q> kernel);

// Calls kernel(tile) for tiles that cover all rows once, in parallel. The cut depends on the shape
// of the problem only.
template <class S, class Q, class Kernel>
void for_each_tile(const RowProblem<S, Q>& problem, TileOptions options, const Kernel& kernel) {
  run_tiles(problem, options, TileKernel<S, Q>(kernel));
}

} // namespace softstep::ops
