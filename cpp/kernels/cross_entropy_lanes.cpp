// Cross-entropy with its gradient, rows adjacent (kLaneShape): groups of rows, one a lane.
#include "cross_entropy_lanes.hpp"
#include "families.hpp"

namespace softstep::KERNEL_ISA {
namespace {

// Groups side by side, step by step: the logarithm of one hides the latency of the next.
constexpr Size kGroupsAbreast = 8;

template <class S, class Shift, bool kPoint, bool kDense, bool kGradient, bool kKeep>
void all_groups(const CrossEntropyTask<S>& task) {
  using T = Compute<S>;
  using Whole = LaneGroup<T, true>;
  using Lanes = CrossEntropyLanes<S, Shift, kPoint, kDense, kGradient, kKeep, Whole>;
  using Part = CrossEntropyLanes<S, Shift, kPoint, kDense, kGradient, kKeep, LaneGroup<T, false>>;
  constexpr Size w = kLanes<T>;
  const Size whole = task.rows / w;
  LaneState<T> states[kGroupsAbreast];
  for (Size first = 0; first < whole; first += kGroupsAbreast) {
    const Size groups = whole - first < kGroupsAbreast ? whole - first : kGroupsAbreast;
    const auto lanes = [&](Size k) { return Lanes(task, Whole{(first + k) * w, w}); };
    for (Size k = 0; k < groups; ++k)
      lanes(k).sweep_logits(states[k]);
    for (Size k = 0; k < groups; ++k)
      lanes(k).sum_up(states[k]);
    for (Size k = 0; k < groups; ++k)
      lanes(k).write(states[k]);
  }
  if (whole * w < task.rows) {
    const Part part(task, {whole * w, task.rows - whole * w});
    LaneState<T> state;
    part.sweep_logits(state);
    part.sum_up(state);
    part.write(state);
  }
}

template <class S, bool kGradient> void plain(const CrossEntropyTask<S>& task) {
  using Shift = ScaledShift<Compute<S>>;
  if (has_probabilities(task) || task.points != 1)
    all_groups<S, Shift, false, true, kGradient, true>(task);
  else if (task.options.smooths())
    all_groups<S, Shift, true, true, kGradient, true>(task);
  else
    all_groups<S, Shift, true, false, kGradient, true>(task);
}

template <class S> void general(const CrossEntropyTask<S>& task) {
  using Shift = CappedShift<Compute<S>>;
  if (has_probabilities(task) || task.points != 1)
    all_groups<S, Shift, false, true, true, false>(task);
  else
    all_groups<S, Shift, true, true, true, false>(task);
}

template <class S> void cross_entropy(const CrossEntropyTask<S>& task) noexcept {
  if constexpr (kKeepsExponentials<S>)
    if (keeps_exponentials(task))
      return task.dlogits.data ? plain<S, true>(task) : plain<S, false>(task);
  general<S>(task);
}

// Segments of the classes have the row shape only.
template <class S> constexpr CrossEntropyKernels<S> kTable = {cross_entropy<S>, nullptr, nullptr};

} // namespace

const CrossEntropyKernels<float> cross_entropy_lanes_f32 = kTable<float>;
const CrossEntropyKernels<double> cross_entropy_lanes_f64 = kTable<double>;
const CrossEntropyKernels<Float16> cross_entropy_lanes_f16 = kTable<Float16>;
const CrossEntropyKernels<BFloat16> cross_entropy_lanes_bf16 = kTable<BFloat16>;

} // namespace softstep::KERNEL_ISA
