// What the sums of a group of rows make, every quantity of a row a lane: the loss and the other
// results. The formulas are those of row_loss.hpp.
#pragma once

#include "lane_targets.hpp"
#include "target_mass.hpp"

namespace softstep::KERNEL_ISA {
namespace {

// What a group knows of its rows after the first sweep, and after their sums.
template <class T> struct LaneState {
  Vec<T> top, others, in_hole, u_t, point, mass, moment, expectation;
  Vec<T> sum, log_s, nll, lse, drift;
  Vec<T> focused; // with a gamma the loss of the point, which then has its mass in the gradient
  Mask<T> infinite, argmax;
};

// kPoint: one class target, whose exponential stays out of the sum; without one the largest class
// does. kExpects: the first sweep may have found expectations.
template <class S, bool kPoint, bool kDense, bool kExpects, class Group> class LaneLoss {
protected:
  using T = Compute<S>;
  const CrossEntropyTask<S>& task;
  const Group group;
  const Mask<T> target;

public:
  SOFTSTEP_INLINE LaneLoss(const CrossEntropyTask<S>& task_, Group group_)
      : task(task_), group(group_),
        target(task_.target ? load_targets<T>(group_, task_.target) : Mask<T>{}) {}

  // nll = log(1 + others / in_hole), by the one division where that is below 2, else from the
  // exponent of the sum: one logarithm for both.
  SOFTSTEP_INLINE void sum_up(LaneState<T>& state) const {
    if constexpr (kPoint) {
      const Vec<T> a = task.mass ? group.load_from(task.mass) : broadcast(T(1));
      state.point *= (T(1) - task.options.label_smoothing) * a;
    }
    const Vec<T> sum = state.sum = state.others + state.in_hole;
    const Mask<T> defined = sum > T(0); // no: rows that are -inf throughout or hold a NaN
    Vec<T> log_s, nll{};
    if constexpr (kPoint) {
      const Mask<T> likely = state.in_hole >= state.others;
      const Vec<T> log_part = log_or_log1p<T>(sum, state.others / state.in_hole, likely);
      log_s = select<T>(likely, log_part + state.u_t, log_part);
      nll =
          select<T>(defined, select<T>(likely, log_part, log_part - state.u_t), broadcast(kNan<T>));
      nll = select<T>(state.infinite, -state.u_t, nll);
    } else {
      const Mask<T> likely = (state.in_hole == T(1)) & (state.others <= T(1));
      log_s = log_or_log1p<T>(sum, state.others, likely);
      log_s = select<T>(sum == sum, log_s, broadcast(kNan<T>));
    }
    state.nll = nll;
    state.log_s = select<T>(state.infinite, Vec<T>{}, // relative to the infinity
                            select<T>(defined, log_s, broadcast(kNan<T>)));
    const Vec<T> top = state.top * task.scale;
    state.lse = select<T>(sum == T(0), top, top + state.log_s); // -inf for a row of -inf
    state.drift = task.options.z_loss != 0 ? T(2) * task.options.z_loss * state.lse : Vec<T>{};
    if (kPoint && task.options.gamma != 0)
      focus(state);
  }

protected:
  SOFTSTEP_INLINE Vec<T> row_weight() const {
    return task.row_weight ? group.load_from(task.row_weight) : broadcast(T(1));
  }

  SOFTSTEP_INLINE void write_results(const LaneState<T>& state, Mask<T> ignored) const {
    const auto set = [&](T* results, Vec<T> values) {
      if (results)
        group.store_to(results, select<T>(ignored, Vec<T>{}, values));
    };
    // A part without mass has no loss, also where log s is undefined.
    Vec<T> loss{};
    if constexpr (kDense)
      loss = select<T>(state.mass == T(0), Vec<T>{}, state.mass * state.log_s) - state.moment;
    if constexpr (kPoint)
      loss += task.options.gamma != 0
                  ? state.focused
                  : select<T>(state.point == T(0), Vec<T>{}, state.point * state.nll);
    if (task.options.z_loss != 0)
      loss += T(0.5) * state.drift * state.lse;
    set(task.loss, loss * row_weight());
    set(task.lse, state.lse);
    set(task.nll, state.nll);
    if (task.argmax)
      for (Size lane = 0; lane < group.count; ++lane)
        task.argmax[group.first + lane] =
            ignored[lane] ? kIgnoredRow : static_cast<std::int32_t>(state.argmax[lane]);
    if constexpr (kExpects) {
      const Vec<T> mean = state.expectation / state.sum; // of u
      set(task.entropy, select<T>(state.sum > T(0), state.log_s - mean, broadcast(kNan<T>)));
      const Vec<T> point_moment = select<T>(state.point == T(0), Vec<T>{}, state.point * state.u_t);
      Vec<T> pull = (state.mass + state.point + state.drift) * mean - state.moment - point_moment;
      if (task.options.z_loss != 0)
        pull += state.top * task.scale * state.drift;
      set(task.dtemperature, -task.scale * row_weight() * pull);
    }
  }

  // What each exponential is multiplied by, and the gradient at the target (or, without one, the
  // largest class) but for dense mass: 1 - p from the other classes, so no cancellation.
  SOFTSTEP_INLINE Vec<T> upstream() const { return task.upstream * task.scale * row_weight(); }
  SOFTSTEP_INLINE Vec<T> factor(const LaneState<T>& state) const {
    return upstream() * (state.mass + state.point + state.drift) * (T(1) / state.sum);
  }
  SOFTSTEP_INLINE Vec<T> gradient_at(const LaneState<T>& state, Vec<T> elsewhere,
                                     Vec<T> there) const {
    const Vec<T> per_sum = T(1) / state.sum;
    return upstream() * ((elsewhere + state.drift) * (state.in_hole * per_sum) -
                         there * (state.others * per_sum));
  }

private:
  [[gnu::noinline]] void focus(LaneState<T>& state) const {
    const T gamma = task.options.gamma;
    const Vec<T> one = broadcast(T(1));
    const Vec<T> rest = select<T>(state.infinite, one, state.others / state.sum);
    const Vec<T> p = select<T>(state.infinite, Vec<T>{}, state.in_hole / state.sum);
    const Mask<T> none = rest == T(0);
    const Vec<T> factor = select<T>(none, Vec<T>{}, exp<T>(gamma * log<T>(rest)));
    const Vec<T> per_rest = select<T>(none, one, state.nll / rest);
    const Vec<T> loss = state.point * factor;
    state.focused = select<T>(loss == T(0), Vec<T>{}, loss * state.nll);
    state.point = select<T>(p == T(0), loss, loss * (one + gamma * p * per_rest));
  }
};

} // namespace
} // namespace softstep::KERNEL_ISA
