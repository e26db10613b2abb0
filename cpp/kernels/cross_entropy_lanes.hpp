// Cross-entropy with its gradient, one row per lane. The formulas are those of row_loss.hpp; here
// every quantity of a row is a lane.
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
// does. kKeep: the exponentials stay in dlogits from the first sweep to the second. Without,
// dlogits may also be null where kGradient.
template <class S, class Shift, bool kPoint, bool kDense, bool kGradient, bool kKeep, class Group>
class CrossEntropyLanes {
  using T = Compute<S>;
  using Int = typename LaneInt<T>::type;

public:
  SOFTSTEP_INLINE CrossEntropyLanes(const CrossEntropyTask<S>& task_, Group group_)
      : task(task_), group(group_),
        target(task_.target ? load_targets<T>(group_, task_.target) : Mask<T>{}) {}

  // The three steps, in this order.
  SOFTSTEP_INLINE void sweep_logits(LaneState<T>& state) const {
    find_top(state);
    const Vec<T> finite = count_finite(), reference = finite_reference<T>(state.top);
    const Matrix<const S> logits = task.logits;
    const Matrix<S> dlogits = task.dlogits;
    const T* weight = task.weight;
    const T scale = task.scale;
    const Size cols = task.cols;
    const bool expects = !kKeep && (task.entropy || task.dtemperature), ranks = task.argmax;
    LaneSum<T> others, mass, moment, expectation;
    Vec<T> in_hole{}, u_t{}, point{}, largest = broadcast(-kInfinity<T>);
    Mask<T> argmax{};
    const auto take = [&](Size c) {
      const Vec<T> x = group.load_class(logits, c), u = (capped(x) - reference) * scale;
      const Vec<T> e = exp<T>(u);
      if constexpr (kPoint) {
        const Mask<T> here = is_target(c);
        others += select<T>(here, Vec<T>{}, e);
        in_hole = select<T>(here, e, in_hole);
        u_t = select<T>(here, u, u_t);
        if (weight)
          point = select<T>(here, broadcast(weight[c]), point);
      } else {
        const Mask<T> here = is_top(e);
        others += select<T>(here, Vec<T>{}, e);
        in_hole += select<T>(here, e, Vec<T>{});
      }
      if constexpr (kDense) {
        const Vec<T> q = mass_at(c, x, finite);
        mass += q;
        moment += select<T>(q == T(0), Vec<T>{}, q * u); // 0 * -inf is 0
      }
      if (expects)
        expectation += select<T>(e == T(0), Vec<T>{}, e * u);
      if (ranks) {
        argmax = x > largest ? Mask<T>{} + static_cast<Int>(c) : argmax;
        largest = select<T>(x > largest, x, largest);
      }
      if constexpr (kGradient && kKeep)
        group.store_class(dlogits, c, e);
    };
    for_each_class(cols, take, [&] {
      others.fold();
      if constexpr (kDense) {
        mass.fold();
        moment.fold();
      }
      if constexpr (!kKeep)
        expectation.fold();
    });
    state.others = others.total();
    state.mass = mass.total();
    state.moment = moment.total();
    state.expectation = expectation.total();
    state.in_hole = in_hole;
    state.u_t = u_t;
    state.point = !kPoint ? Vec<T>{} : weight ? point : broadcast(T(1));
    state.argmax = argmax;
  }

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

  SOFTSTEP_INLINE void write(const LaneState<T>& state) const {
    const Mask<T> ignored = ignored_rows(task, group);
    write_results(state, ignored);
    if constexpr (kGradient) {
      if (!kKeep && !task.dlogits.data)
        return;
      write_gradient(state);
      if (any<T>(ignored))
        for (Size c = 0; c < task.cols; ++c)
          group.store_class(task.dlogits, c,
                            select<T>(ignored, Vec<T>{}, group.load_class(gradient(), c)));
    }
  }

private:
  static constexpr bool kCapped = Shift::kCapped;

  const CrossEntropyTask<S>& task;
  const Group group;
  const Mask<T> target;

  // Without a point; two largest classes, whose exponentials are both 1, are more than one.
  SOFTSTEP_INLINE Mask<T> is_top(Vec<T> e) const { return e == T(1); }
  SOFTSTEP_INLINE Mask<T> is_target(Size c) const { return target == static_cast<Int>(c); }
  SOFTSTEP_INLINE Matrix<const S> gradient() const {
    return {task.dlogits.data, task.dlogits.stride};
  }
  SOFTSTEP_INLINE Vec<T> capped(Vec<T> x) const {
    if constexpr (kCapped)
      return soft_cap<T>(x, task.options.softcap);
    return x;
  }

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

  SOFTSTEP_INLINE void find_top(LaneState<T>& state) const {
    Vec<T> top = max_lanes<T>(group, task.logits, task.cols);
    for (Size lane = 0; lane < group.count; ++lane)
      if constexpr (kCapped)
        top[lane] = Shift::cap(top[lane], {task.scale, task.options.softcap});
    state.infinite = infinite_lanes<T>(group, task.logits, task.cols, top);
    state.top = top;
  }

  SOFTSTEP_INLINE Vec<T> count_finite() const {
    const Size excluded = task.options.smooths_others() && task.cols > 1 ? 1 : 0;
    Vec<T> finite = broadcast(static_cast<T>(task.cols - excluded));
    if (kDense && task.options.smooths_allowed())
      for (Size c = 0; c < task.cols; ++c)
        finite -=
            select<T>(group.load_class(task.logits, c) == -kInfinity<T>, broadcast(T(1)), Vec<T>{});
    return finite;
  }

  // All mass on class c but that of a single class target.
  SOFTSTEP_INLINE Vec<T> mass_at(Size c, Vec<T> x, Vec<T> finite) const {
    Vec<T> q{};
    if (task.options.smooths()) {
      q = task.options.label_smoothing / finite;
      if (task.options.smooths_allowed())
        q = select<T>(x == -kInfinity<T>, Vec<T>{}, q);
      if (task.options.smooths_others())
        q = select<T>(is_target(c), Vec<T>{}, q);
    }
    const Vec<T> keep = broadcast(T(1) - task.options.label_smoothing);
    if (task.probabilities.data)
      q = fma(group.load_class(task.probabilities, c), keep, q);
    else if (task.wide_probabilities.data)
      q = fma(group.load_class(task.wide_probabilities, c), keep, q);
    else if (!kPoint)
      for (Size k = 0; k < task.points; ++k) {
        const Size at = k * task.point_stride;
        const Mask<T> here = load_targets<T>(group, task.target + at) == static_cast<Int>(c);
        const Vec<T> a = task.mass ? group.load_from(task.mass + at) : broadcast(T(1));
        q += select<T>(here, keep * a, Vec<T>{});
      }
    return task.weight ? q * task.weight[c] : q;
  }

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
    if constexpr (!kKeep) {
      const Vec<T> mean = state.expectation / state.sum; // of u
      set(task.entropy, select<T>(state.sum > T(0), state.log_s - mean, broadcast(kNan<T>)));
      const Vec<T> point_moment = select<T>(state.point == T(0), Vec<T>{}, state.point * state.u_t);
      Vec<T> pull = (state.mass + state.point + state.drift) * mean - state.moment - point_moment;
      if (task.options.z_loss != 0)
        pull += state.top * task.scale * state.drift;
      set(task.dtemperature, -task.scale * row_weight() * pull);
    }
  }

  SOFTSTEP_INLINE void write_gradient(const LaneState<T>& state) const {
    const Matrix<const S> logits = task.logits, kept = gradient();
    const Matrix<S> dlogits = task.dlogits;
    const Size cols = task.cols;
    const Vec<T> g = task.upstream * task.scale * row_weight(), per_sum = T(1) / state.sum;
    const Vec<T> factor = g * (state.mass + state.point + state.drift) * per_sum;
    const Vec<T> finite = count_finite(), reference = finite_reference<T>(state.top);
    const auto exponential = [&](Size c, Vec<T> x) {
      return kKeep ? group.load_class(kept, c) : exp<T>((capped(x) - reference) * task.scale);
    };
    const auto logit = [&](Size c) { return kKeep ? Vec<T>{} : group.load_class(logits, c); };
    // Without a point, rows of which one class has nearly all of the probability.
    const Mask<T> certain =
        kPoint ? Mask<T>{} : (state.in_hole == T(1)) & (state.others < T(0.125));
    Vec<T> elsewhere = state.mass, there = state.point;
    if (!kPoint && any<T>(certain)) {
      elsewhere = there = Vec<T>{};
      for (Size c = 0; c < cols; ++c) {
        const Vec<T> x = logit(c), q = mass_at(c, x, finite);
        const Mask<T> here = is_top(exponential(c, x));
        elsewhere += select<T>(here, Vec<T>{}, q);
        there += select<T>(here, q, Vec<T>{});
      }
    }
    // 1 - p from the other classes: no cancellation.
    const Vec<T> in_hole = g * ((elsewhere + state.drift) * (state.in_hole * per_sum) -
                                there * (state.others * per_sum));
    for (Size c = 0; c < cols; ++c) {
      const Vec<T> x = logit(c), e = exponential(c, x);
      Vec<T> d = e * factor;
      if constexpr (kPoint)
        d = select<T>(is_target(c), in_hole, d);
      if constexpr (kDense)
        d -= g * mass_at(c, x, finite);
      if constexpr (!kPoint)
        d = select<T>(is_top(e) & certain, in_hole, d);
      if constexpr (kCapped)
        d *= Shift::slope(x, {task.scale, task.options.softcap});
      group.store_class(dlogits, c, d);
    }
  }
};

} // namespace
} // namespace softstep::KERNEL_ISA
