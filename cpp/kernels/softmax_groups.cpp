// Softmax over rows of middling length (kRowShape), in groups.
#include "row_groups.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <class S, bool kUnit> class SoftmaxGroup {
  using T = Compute<S>;
  const SoftmaxTask<S>& task;
  const RowGroup<T> group;
  const Matrix<T> exponentials;

public:
  // What the rows need of each other's steps: the maxima, then the factors.
  using State = Vec<T>;

  SOFTSTEP_INLINE SoftmaxGroup(const SoftmaxTask<S>& task_, RowGroup<T> group_, T* buffer)
      : task(task_), group(group_), exponentials(place(task_, group_, buffer)) {}

  // The steps, in this order.
  [[gnu::noinline]] void find_tops(State& state) const {
    const Size cols = task.cols, stride = task.x.stride;
    const S* const x = group.row_of(task.x);
    RowVectors<T> tops{};
    for (Size r = 0; r < group.count; ++r)
      tops.of[r] = max_lanes_of_row(x + r * stride, 0, cols);
    state = finite_reference<T>(max_of_rows<T>(tops));
  }

  [[gnu::noinline]] void take_exponentials(State& state) const {
    const Size cols = task.cols, x_stride = task.x.stride, e_stride = exponentials.stride;
    const S* const x = group.row_of(task.x);
    T* const e = exponentials.data;
    for (Size r = 0; r < group.count; ++r)
      exp_row<kUnit, false>(e + r * e_stride, x + r * x_stride, state[r], task.scale, cols);
  }

  [[gnu::noinline]] void sum_up(State& state) const {
    const Size cols = task.cols, stride = exponentials.stride;
    const T* const e = exponentials.data;
    RowVectors<T> sums{};
    for (Size r = 0; r < group.count; ++r)
      sums.of[r] = sum_of_row(e + r * stride, cols);
    state = T(1) / sum_of_rows<T>(sums);
  }

  [[gnu::noinline]] void write(const State& state) const {
    const Size cols = task.cols, y_stride = task.y.stride, e_stride = exponentials.stride;
    S* const y = group.row_of(task.y);
    const T* const e = exponentials.data;
    for (Size r = 0; r < group.count; ++r) {
      const Vec<T> factor = Vec<T>{} + state[r];
      write_row(y + r * y_stride, e + r * e_stride, cols,
                [=](Vec<T> v) SOFTSTEP_INLINE_LAMBDA { return v * factor; });
    }
  }

private:
  SOFTSTEP_INLINE static Matrix<T> place(const SoftmaxTask<S>& task, RowGroup<T> group, T* buffer) {
    if constexpr (kKeepsExponentials<S>)
      return {group.row_of(task.y), task.y.stride};
    else
      return {buffer, task.cols};
  }
};

template <class S, bool kUnit> void groups(const SoftmaxTask<S>& task) {
  using T = Compute<S>;
  using Group = SoftmaxGroup<S, kUnit>;
  typename Group::State states[kGroupsAbreast];
  const auto step = [&](auto f) SOFTSTEP_INLINE_LAMBDA {
    return [&, f](Size k, RowGroup<T> rows, T* buffer)
               SOFTSTEP_INLINE_LAMBDA { f(Group(task, rows, buffer), states[k]); };
  };
  for_each_row_group<T>(
      task.rows, task.cols, step([](const Group& group, auto& state) { group.find_tops(state); }),
      step([](const Group& group, auto& state) { group.take_exponentials(state); }),
      step([](const Group& group, auto& state) { group.sum_up(state); }),
      step([](const Group& group, auto& state) { group.write(state); }));
}

template <class S> void all_groups(const SoftmaxTask<S>& task) {
  if constexpr (kKeepsExponentials<S>)
    if (task.scale == 1)
      return groups<S, true>(task);
  groups<S, false>(task);
}

} // namespace

void softmax_groups(const SoftmaxTask<float>& task) { all_groups(task); }
void softmax_groups(const SoftmaxTask<double>& task) { all_groups(task); }
void softmax_groups(const SoftmaxTask<Float16>& task) { all_groups(task); }
void softmax_groups(const SoftmaxTask<BFloat16>& task) { all_groups(task); }

} // namespace softstep::KERNEL_ISA
