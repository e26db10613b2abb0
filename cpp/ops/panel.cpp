#include "ops/panel.hpp"

#include "dispatch/dispatch.hpp"
#include "ops/cost.hpp"
#include "ops/elements.hpp"
#include "parallel/parallel.hpp"

namespace softstep::ops {
namespace {

// run(row, begin, n) for pieces that cover every row; long rows are cut too.
template <class S, class Run> void for_each_piece(const PanelProblem<S>& problem, Run run) {
  if (problem.size == 0)
    return;
  const Size pieces = (problem.size + kBlockElements - 1) / kBlockElements;
  const Size rows_per_block = std::max<Size>(1, kBlockElements / problem.size);
  const Size groups = (problem.rows + rows_per_block - 1) / rows_per_block;
  const double cost_ns = static_cast<double>(problem.rows) * static_cast<double>(problem.size) *
                         kMapElementNs * sizeof(Compute<S>) / 4;
  parallel::for_each_block(groups * pieces, cost_ns, [&](std::int64_t block, int) {
    const Size first = block / pieces * rows_per_block, begin = block % pieces * kBlockElements;
    const Size last = std::min(problem.rows, first + rows_per_block);
    for (Size row = first; row < last; ++row)
      run(row, begin, std::min(kBlockElements, problem.size - begin));
  });
}

} // namespace

template <class S> void panel_copy(const PanelProblem<S>& problem) {
  const auto copy = dispatch::active_for<S>().panel->copy;
  for_each_piece(problem, [&](Size row, Size begin, Size n) {
    const Size picked = problem.index ? static_cast<Size>(problem.index[row]) : row;
    copy(problem.to.data + row * problem.to.stride + begin,
         problem.from.data + picked * problem.from.stride + begin, n);
  });
}

template <class S> void panel_add(const PanelProblem<S>& problem) {
  const auto add = dispatch::active_for<S>().panel->add;
  for_each_piece(problem, [&](Size row, Size begin, Size n) {
    const Size picked = problem.index ? static_cast<Size>(problem.index[row]) : row;
    add(problem.to.data + picked * problem.to.stride + begin,
        problem.from.data + row * problem.from.stride + begin, n);
  });
}

template void panel_copy(const PanelProblem<float>&);
template void panel_copy(const PanelProblem<double>&);
template void panel_copy(const PanelProblem<Float16>&);
template void panel_copy(const PanelProblem<BFloat16>&);
template void panel_add(const PanelProblem<float>&);
template void panel_add(const PanelProblem<double>&);
template void panel_add(const PanelProblem<Float16>&);
template void panel_add(const PanelProblem<BFloat16>&);

} // namespace softstep::ops
