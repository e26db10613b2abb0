#include "ops/tiles.hpp"

#include "ops/stage.hpp"
#include "parallel/parallel.hpp"

#include <optional>

namespace softstep::ops {
namespace {

template <class S, class Q, class Kernel>
void run_direct(const RowProblem<S, Q>& problem, Shape shape, Size start, Size rows,
                Kernel&& kernel) {
  const auto matrix = [&]<class T>(const Operand<T>& o) {
    if (!o.data)
      return Matrix<T>{nullptr, 0};
    return Matrix<T>{problem.row(o, start),
                     shape == kRowShape ? problem.inner_stride(o) : o.class_stride};
  };
  RowTile<S, Q> tile{
      shape, start, rows, matrix(problem.first), matrix(problem.second), matrix(problem.output)};
  tile.far = shape == kLaneShape && problem.cols > kFollowedPlanes;
  kernel(tile);
}

} // namespace

template <class S, class Q>
void run_tiles(const RowProblem<S, Q>& problem, TileOptions options, TileKernel<S, Q> kernel) {
  if (problem.rows == 0)
    return;
  const Layout layout{problem.classes_adjacent(),
                      problem.rows_adjacent(),
                      problem.mask.data != nullptr,
                      !std::is_same_v<S, Compute<S>>,
                      problem.first.class_stride * static_cast<Size>(sizeof(S)),
                      problem.inner_rows()};
  const Plan plan =
      plan_rows(problem.rows, problem.cols, sizeof(Compute<S>), layout, options.lane_classes);
  const bool turned = plan.shape == kLaneShape && layout.classes_adjacent;
  const Size scratch_size = plan.shape == kRowShape || plan.rests ? options.scratch_size : 0;
  const bool stages_any = plan.rests || (plan.staged && !turned);
  std::unique_ptr<Stage<S, Q>[]> stages;
  std::unique_ptr<float[]> scratch;
  std::optional<parallel::Reservation> reserved;
  if (stages_any || scratch_size > 0) {
    reserved.emplace(plan.blocks, plan.cost_ns);
    const auto workers = static_cast<std::size_t>(reserved->workers());
    if (scratch_size > 0)
      scratch.reset(new float[workers * static_cast<std::size_t>(scratch_size)]);
    if (stages_any)
      stages.reset(new Stage<S, Q>[workers]);
    for (std::size_t worker = 0; stages_any && worker < workers; ++worker)
      stages[worker].allocate(problem, plan);
  }
  const Size inner = problem.inner_rows();
  parallel::for_each_block(plan.blocks, plan.cost_ns, [&](std::int64_t block, int worker) {
    const auto on_tile = [&](auto tile) {
      tile.scratch = scratch ? scratch.get() + worker * scratch_size : nullptr;
      kernel(tile);
    };
    const Size end = std::min<Size>(problem.rows, (block + 1) * plan.rows_per_block);
    for (Size row = block * plan.rows_per_block; row < end;) {
      Size rows = std::min(end - row, inner - row % inner);
      const Size rest = plan.rests ? rows % kFewestLanes : 0;
      const bool fills_lanes = rest < rows;
      if (fills_lanes)
        rows -= rest; // which come next
      if (fills_lanes && !plan.staged)
        run_direct(problem, plan.shape, row, rows, on_tile);
      else if (fills_lanes && turned)
        run_turned(problem, row, rows, on_tile);
      else if (fills_lanes && plan.shape == kLaneShape)
        run_lanes_staged(problem, row, rows, on_tile, stages[static_cast<std::size_t>(worker)]);
      else
        run_rows_staged(problem, row, rows, on_tile, stages[static_cast<std::size_t>(worker)]);
      row += rows;
    }
  });
}

#define SOFTSTEP_INSTANTIATE(S, Q)                                                                 \
  template void run_tiles(const RowProblem<S, Q>&, TileOptions, TileKernel<S, Q>);
SOFTSTEP_FOR_ROW_PROBLEMS(SOFTSTEP_INSTANTIATE)
#undef SOFTSTEP_INSTANTIATE

} // namespace softstep::ops
