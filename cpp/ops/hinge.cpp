#include "ops/hinge.hpp"

#include "dispatch/dispatch.hpp"
#include "ops/sum.hpp"
#include "ops/tiles.hpp"

namespace softstep::ops {

template <class T> double hinge(const HingeProblem<T>& problem, T* loss) {
  const KernelsOf<T>& kernels = dispatch::active_for<T>();
  for_each_tile(problem.rows, {}, [&](const RowTile<T>& tile) {
    HingeTask<T> task{};
    task.scores = {tile.first.data, tile.first.stride};
    task.dscores = tile.output;
    task.target = problem.target + tile.start;
    task.loss = loss + tile.start;
    task.rows = tile.rows;
    task.cols = problem.rows.cols;
    task.margin = static_cast<T>(problem.margin);
    task.upstream = static_cast<T>(problem.upstream);
    kernels.hinge[tile.shape]->hinge(task);
  });
  return sum_in_order(loss, problem.rows.rows);
}

template double hinge(const HingeProblem<float>&, float*);
template double hinge(const HingeProblem<double>&, double*);

} // namespace softstep::ops
