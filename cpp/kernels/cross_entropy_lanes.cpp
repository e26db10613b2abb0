// Cross-entropy with its gradient, rows adjacent (kLaneShape): groups of rows, one a lane.
#include "cross_entropy_lanes.hpp"
#include "families.hpp"

namespace softstep::KERNEL_ISA {
namespace {

// Groups side by side, step by step: the logarithm of one hides the latency of the next.
constexpr Size kGroupsAbreast = 8;

// From here on it is cheaper to fetch what belongs to the targets than to look for them.
constexpr Size kGatheredClasses = 32;

template <class S, class Shift, bool kPoint, bool kDense, bool kKeep, bool kGathers = false>
void whole_groups(const CrossEntropyTask<S>& task) {
  using T = Compute<S>;
  using Group = LaneGroup<T, true>;
  using Lanes = CrossEntropyLanes<S, Shift, kPoint, kDense, kKeep, kGathers, Group>;
  constexpr Size w = kLanes<T>;
  const Size whole = task.rows / w;
  LaneState<T> states[kGroupsAbreast];
  for (Size first = 0; first < whole; first += kGroupsAbreast) {
    const Size groups = whole - first < kGroupsAbreast ? whole - first : kGroupsAbreast;
    const auto lanes = [&](Size k) { return Lanes(task, Group{(first + k) * w, w}); };
    for (Size k = 0; k < groups; ++k)
      lanes(k).sweep_logits(states[k]);
    for (Size k = 0; k < groups; ++k)
      lanes(k).sum_up(states[k]);
    for (Size k = 0; k < groups; ++k)
      lanes(k).write(states[k]);
  }
}

// The rows that fill no group: one instance for all tasks.
template <class S, bool kPoint> void last_group(const CrossEntropyTask<S>& task) {
  using T = Compute<S>;
  using Group = LaneGroup<T, false>;
  const Size rest = task.rows % kLanes<T>;
  if (rest == 0)
    return;
  const CrossEntropyLanes<S, CappedShift<T>, kPoint, true, false, false, Group> lanes(
      task, Group{task.rows - rest, rest});
  LaneState<T> state;
  lanes.sweep_logits(state);
  lanes.sum_up(state);
  lanes.write(state);
}

template <class S, bool kPoint> void groups(const CrossEntropyTask<S>& task) {
  using Shift = ScaledShift<Compute<S>>;
  if (!keeps_exponentials(task))
    whole_groups<S, CappedShift<Compute<S>>, kPoint, true, false>(task);
  else if (!kPoint || task.options.smooths())
    whole_groups<S, Shift, kPoint, true, true>(task);
  else if constexpr (kPoint)
    task.cols < kGatheredClasses ? whole_groups<S, Shift, kPoint, false, true>(task)
                                 : whole_groups<S, Shift, kPoint, false, true, true>(task);
  last_group<S, kPoint>(task);
}

template <class S> void cross_entropy(const CrossEntropyTask<S>& task) noexcept {
  has_probabilities(task) || task.points != 1 ? groups<S, false>(task) : groups<S, true>(task);
}

// Segments of the classes have the row shape only.
template <class S>
constexpr CrossEntropyKernels<S> kTable = {cross_entropy<S>, nullptr, nullptr, nullptr};

} // namespace

const CrossEntropyKernels<float> cross_entropy_lanes_f32 = kTable<float>;
const CrossEntropyKernels<double> cross_entropy_lanes_f64 = kTable<double>;

} // namespace softstep::KERNEL_ISA
