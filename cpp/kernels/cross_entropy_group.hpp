// Cross-entropy of class targets over groups of rows, with or without its gradient.
#pragma once

#include "lane_loss.hpp"
#include "row_group.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <class T> struct GroupState : LaneState<T> {
  Size kept; // rows that are not ignored
  struct Row {
    Size lane, target;
  } rows[kLanes<T>];
  Vec<T> reference;                   // what is subtracted from the logits
  Vec<T> factor, at_target, smoothed; // of the gradient

  // Lanes without a row are 0.
  SOFTSTEP_INLINE void start(RowVectors<T>& of_rows) const {
    if (kept < kLanes<T>)
      of_rows = RowVectors<T>{};
  }
};

// The maximum of each row, and what is read at its target.
template <class S> struct GroupTops {
  using T = Compute<S>;
  using State = GroupState<T>;
  const CrossEntropyTask<S>& task;
  const RowGroup<T> group;
  const S* const logits;

  [[gnu::noinline]] void find(State& state) const {
    find_kept(state);
    const Size cols = task.cols, stride = task.logits.stride;
    const S* const x = logits;
    RowVectors<T> tops;
    Vec<T> target_logit{}, weight = broadcast(T(1));
    state.start(tops);
    for (Size k = 0; k < state.kept; ++k) {
      const auto [lane, hole] = state.rows[k];
      tops.of[lane] = max_lanes_of_row(x + lane * stride, 0, cols);
      target_logit[lane] = static_cast<T>(get(x + lane * stride + hole));
    }
    if (task.weight)
      for (Size k = 0; k < state.kept; ++k)
        weight[state.rows[k].lane] = task.weight[state.rows[k].target];
    state.top = max_of_rows<T>(tops);
    state.point = weight;
    state.infinite = state.top == kInfinity<T>;
    if (any<T>(state.infinite))
      leave_nans(state);
    state.reference = finite_reference<T>(state.top);
    state.u_t = (target_logit - state.reference) * task.scale;
    state.in_hole = exp<T>(state.u_t);
  }

private:
  SOFTSTEP_INLINE void find_kept(State& state) const {
    state.kept = 0;
    for (Size lane = 0; lane < group.count; ++lane) {
      const Size hole = task.target[group.first + lane];
      state.rows[state.kept] = {lane, hole};
      state.kept += hole != kIgnoredRow;
    }
  }

  [[gnu::noinline]] void leave_nans(State& state) const {
    for (Size k = 0; k < state.kept; ++k) {
      const Size lane = state.rows[k].lane;
      if (state.infinite[lane] && has_nan(logits + lane * task.logits.stride, 0, task.cols))
        state.infinite[lane] = 0;
    }
  }
};

// kUnit: the temperature is 1. kSmooth: there is mass that is the same for all classes. `buffer`
// holds the exponentials of the group where dlogits, which may be none, cannot.
template <class S, bool kUnit, bool kSmooth>
class CrossEntropyGroup : private LaneLoss<S, true, kSmooth, false, RowGroup<Compute<S>>> {
  using Loss = LaneLoss<S, true, kSmooth, false, RowGroup<Compute<S>>>;
  using Loss::task, Loss::group;
  using typename Loss::T;
  using State = GroupState<T>;

public:
  SOFTSTEP_INLINE CrossEntropyGroup(const CrossEntropyTask<S>& task_, RowGroup<T> group_, T* buffer)
      : Loss(task_, group_), logits(group_.row_of(task_.logits)),
        dlogits(group_.row_of(task_.dlogits)), exponentials{buffer, task_.cols} {
    if constexpr (kKeepsExponentials<S>)
      if (dlogits)
        exponentials = {dlogits, task_.dlogits.stride};
  }

  // The steps, in this order.
  SOFTSTEP_INLINE void find_tops(State& state) const {
    GroupTops<S>{task, group, logits}.find(state);
  }

  // The target's is left out: near certainty it would hide the others in their sum.
  [[gnu::noinline]] void take_exponentials(State& state) const {
    const Size cols = task.cols, x_stride = task.logits.stride, e_stride = exponentials.stride;
    const S* const x = logits;
    T* const e = exponentials.data;
    RowVectors<T> moment;
    state.start(moment);
    for (Size k = 0; k < state.kept; ++k) {
      const auto [lane, hole] = state.rows[k];
      moment.of[lane] = exp_row<kUnit, kSmooth>(e + lane * e_stride, x + lane * x_stride,
                                                state.reference[lane], task.scale, cols);
      e[lane * e_stride + hole] = 0;
    }
    state.mass = state.moment = Vec<T>{};
    if constexpr (kSmooth) {
      state.mass = broadcast(task.options.label_smoothing);
      state.moment = sum_of_rows<T>(moment) * spread();
    }
  }

  [[gnu::noinline]] void sum_up(State& state) const {
    const Size cols = task.cols, stride = exponentials.stride;
    const T* const e = exponentials.data;
    RowVectors<T> others;
    state.start(others);
    for (Size k = 0; k < state.kept; ++k) {
      const Size lane = state.rows[k].lane;
      others.of[lane] = sum_of_row(e + lane * stride, cols);
    }
    state.others = sum_of_rows<T>(others);
    Loss::sum_up(state);
    this->write_results(state, ignored_rows(task, group));
    if (dlogits) {
      state.smoothed = kSmooth ? this->upstream() * spread() : Vec<T>{};
      state.factor = this->factor(state);
      state.at_target = this->gradient_at(state, state.mass, state.point) - state.smoothed;
    }
  }

  [[gnu::noinline]] void write_gradient(const State& state) const {
    if (!dlogits)
      return;
    const Size cols = task.cols, d_stride = task.dlogits.stride, e_stride = exponentials.stride;
    S* const d = dlogits;
    const T* const e = exponentials.data;
    for (Size k = 0; k < state.kept; ++k) {
      const auto [lane, hole] = state.rows[k];
      const Vec<T> factor = Vec<T>{} + state.factor[lane], less = Vec<T>{} + state.smoothed[lane];
      S* const to = d + lane * d_stride;
      write_row(to, e + lane * e_stride, cols, [=](Vec<T> v) SOFTSTEP_INLINE_LAMBDA {
        return kSmooth ? v * factor - less : v * factor;
      });
      put(to + hole, static_cast<double>(state.at_target[lane]));
    }
    if (state.kept < group.count)
      for (Size lane = 0; lane < group.count; ++lane)
        if (task.target[group.first + lane] == kIgnoredRow)
          map_row(d + lane * d_stride, 0, cols, [](Size) { return Vec<T>{}; });
  }

private:
  const S* const logits;
  S* const dlogits;
  Matrix<T> exponentials;

  // The smoothing of one class.
  T spread() const { return task.options.label_smoothing / static_cast<T>(task.cols); }
};

} // namespace
} // namespace softstep::KERNEL_ISA
