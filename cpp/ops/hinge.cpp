#include "ops/hinge.hpp"

#include "dispatch/dispatch.hpp"
#include "ops/sum.hpp"

namespace softstep::ops {

template <class T> double hinge(const HingeProblem<T>& problem, T* loss) {
  const KernelsOf<T>& kernels = dispatch::active_for<T>();
  for_each_tile(problem.rows, *kernels.transpose, [&](const RowTile<T>& tile) {
    const Matrix<T>& scores = tile.operands[RowProblem<T>::kFirst];
    HingeTask<T> task{};
    task.scores = {scores.data, scores.stride};
    task.dscores = tile.operands[RowProblem<T>::kOutput];
    task.target = problem.target + tile.first;
    task.loss = loss + tile.first;
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
