// Cross-entropy over rows of middling length (kRowShape), in groups.
#include "cross_entropy_group.hpp"
#include "row_groups.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <class S, bool kUnit, bool kSmooth> void groups(const CrossEntropyTask<S>& task) {
  using T = Compute<S>;
  using Group = CrossEntropyGroup<S, kUnit, kSmooth>;
  GroupState<T> states[kGroupsAbreast];
  const auto step = [&](auto f) SOFTSTEP_INLINE_LAMBDA {
    return [&, f](Size k, RowGroup<T> rows, T* buffer)
               SOFTSTEP_INLINE_LAMBDA { f(Group(task, rows, buffer), states[k]); };
  };
  for_each_row_group<T>(
      task.rows, task.cols, step([](const Group& group, auto& state) { group.find_tops(state); }),
      step([](const Group& group, auto& state) { group.take_exponentials(state); }),
      step([](const Group& group, auto& state) { group.sum_up(state); }),
      step([](const Group& group, auto& state) { group.write_gradient(state); }));
}

template <class S> void all_groups(const CrossEntropyTask<S>& task) {
  if (task.options.smooths())
    return groups<S, false, true>(task);
  if constexpr (kKeepsExponentials<S>)
    if (task.scale == 1)
      return groups<S, true, false>(task);
  groups<S, false, false>(task);
}

} // namespace

void cross_entropy_groups(const CrossEntropyTask<float>& task) { all_groups(task); }
void cross_entropy_groups(const CrossEntropyTask<double>& task) { all_groups(task); }
void cross_entropy_groups(const CrossEntropyTask<Float16>& task) { all_groups(task); }
void cross_entropy_groups(const CrossEntropyTask<BFloat16>& task) { all_groups(task); }

} // namespace softstep::KERNEL_ISA
