// Cross-entropy over rows of middling length (kRowShape), in groups.
#include "cross_entropy_group.hpp"
#include "row_groups.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <class S, bool kUnit, bool kSmooth, bool kGradient>
void groups(const CrossEntropyTask<S>& task) {
  using T = Compute<S>;
  using Group = CrossEntropyGroup<S, kUnit, kSmooth, kGradient>;
  GroupState<T> states[kGroupsAbreast];
  const auto step = [&](auto f) SOFTSTEP_INLINE_LAMBDA {
    return [&, f](Size k, RowGroup<T> rows, T* buffer)
               SOFTSTEP_INLINE_LAMBDA { f(Group(task, rows, buffer), states[k]); };
  };
  for_each_row_group<T, !Group::kInPlace>(
      task.rows, task.cols, step([](const Group& group, auto& state) { group.find_tops(state); }),
      step([](const Group& group, auto& state) { group.take_exponentials(state); }),
      step([](const Group& group, auto& state) { group.sum_up(state); }),
      step([](const Group& group, auto& state) {
        if constexpr (kGradient)
          group.write_gradient(state);
      }));
}

template <class S> void unsmoothed(const CrossEntropyTask<S>& task) {
  if constexpr (kKeepsExponentials<S>)
    if (task.scale == 1)
      return groups<S, true, false, true>(task);
  groups<S, false, false, true>(task);
}

template <class S> void all_groups(const CrossEntropyTask<S>& task) {
  if (!task.dlogits.data)
    task.options.smooths() ? groups<S, false, true, false>(task)
                           : groups<S, false, false, false>(task);
  else
    task.options.smooths() ? groups<S, false, true, true>(task) : unsmoothed(task);
}

} // namespace

void cross_entropy_groups(const CrossEntropyTask<float>& task) { all_groups(task); }
void cross_entropy_groups(const CrossEntropyTask<double>& task) { all_groups(task); }
void cross_entropy_groups(const CrossEntropyTask<Float16>& task) { all_groups(task); }
void cross_entropy_groups(const CrossEntropyTask<BFloat16>& task) { all_groups(task); }

} // namespace softstep::KERNEL_ISA
