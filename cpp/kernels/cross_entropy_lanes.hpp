// Cross-entropy with its gradient, one row per lane: its sweeps.
#pragma once

#include "lane_loss.hpp"

namespace softstep::KERNEL_ISA {
namespace {

// kPoint: one class target, whose exponential stays out of the sum; without one the largest class
// does. kKeep: the exponentials stay in dlogits, if there is one, from the first sweep to the
// second. kGathers, of whole groups with a point and no other mass: the sweeps treat every class
// alike; what belongs to the target is fetched before and put in its place afterwards.
template <class S, class Shift, bool kPoint, bool kDense, bool kKeep, bool kGathers, class Group>
class CrossEntropyLanes : public LaneLoss<S, kPoint, kDense, !kKeep, Group> {
  using Loss = LaneLoss<S, kPoint, kDense, !kKeep, Group>;
  using Loss::task, Loss::group, Loss::target;
  using typename Loss::T;
  using Int = typename LaneInt<T>::type;

public:
  using Loss::Loss;

  // Then sum_up, then write.
  SOFTSTEP_INLINE void sweep_logits(LaneState<T>& state) const {
    find_top(state);
    state.argmax = task.argmax ? find_argmax() : Mask<T>{};
    const Vec<T> finite = count_finite(), reference = finite_reference<T>(state.top);
    const Matrix<const S> logits = task.logits;
    const Matrix<S> dlogits = task.dlogits;
    const T* weight = task.weight;
    const T scale = task.scale;
    const Size cols = task.cols;
    const bool expects = !kKeep && (task.entropy || task.dtemperature);
    LaneSum<T> others, mass, moment, expectation;
    Vec<T> in_hole{}, u_t{}, point{};
    Mask<T> index{}; // of the class
    if constexpr (kGathers) {
      u_t = (at_target(logits) - reference) * scale;
      in_hole = exp<T>(u_t);
      if (weight)
        point = at_target(Matrix<const T>{weight, 1}, 0);
    }
    const auto fetch = [&](Size begin, Size end) SOFTSTEP_INLINE_LAMBDA {
      if (!task.far)
        return;
      fetch_ahead(group, logits, begin, end);
      if (dlogits.data)
        fetch_ahead(group, dlogits, begin, end);
    };
    const auto take = [&](Size c) {
      const Vec<T> x = group.load_class(logits, c), u = (capped(x) - reference) * scale;
      const Vec<T> e = exp<T>(u);
      if constexpr (kGathers) {
        others += select<T>(index == target, Vec<T>{}, e);
        index += 1;
      } else if constexpr (kPoint) {
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
      if (kKeep && dlogits.data)
        group.store_class(dlogits, c, e);
    };
    const auto fold = [&] {
      others.fold();
      if constexpr (kDense) {
        mass.fold();
        moment.fold();
      }
      if constexpr (!kKeep)
        expectation.fold();
    };
    for_each_class(cols, take, fold, fetch);
    state.others = others.total();
    state.mass = mass.total();
    state.moment = moment.total();
    state.expectation = expectation.total();
    state.in_hole = in_hole;
    state.u_t = u_t;
    state.point = !kPoint ? Vec<T>{} : weight ? point : broadcast(T(1));
  }

  SOFTSTEP_INLINE void write(const LaneState<T>& state) const {
    const Mask<T> ignored = ignored_rows(task, group);
    this->write_results(state, ignored);
    if (!task.dlogits.data)
      return;
    write_gradient(state);
    if (any<T>(ignored))
      for (Size c = 0; c < task.cols; ++c)
        group.store_class(task.dlogits, c,
                          select<T>(ignored, Vec<T>{}, group.load_class(gradient(), c)));
  }

private:
  static constexpr bool kCapped = Shift::kCapped;

  // Without a point; two largest classes, whose exponentials are both 1, are more than one.
  SOFTSTEP_INLINE Mask<T> is_top(Vec<T> e) const { return e == T(1); }
  SOFTSTEP_INLINE Mask<T> is_target(Size c) const { return target == static_cast<Int>(c); }
  // f(lane, c) for the target of each row of a whole group; what becomes of ignored rows, whose
  // class is 0 here, is the caller's.
  template <class F> SOFTSTEP_INLINE void for_each_target(F f) const {
    const std::int32_t* targets = task.target + group.first;
#pragma GCC unroll 16
    for (Size lane = 0; lane < kLanes<T>; ++lane)
      f(lane, static_cast<Size>(targets[lane] < 0 ? 0 : targets[lane]));
  }
  template <class V>
  SOFTSTEP_INLINE Vec<T> at_target(Matrix<const V> m, Size row_stride = 1) const {
    alignas(kVectorBytes) T values[kLanes<T>];
    for_each_target([&](Size lane, Size c) SOFTSTEP_INLINE_LAMBDA {
      values[lane] = m.data[c * m.stride + (group.first + lane) * row_stride];
    });
    return load(values);
  }
  // The first NaN, if there is one, as in NumPy.
  SOFTSTEP_INLINE Mask<T> find_argmax() const {
    Vec<T> largest = broadcast(-kInfinity<T>);
    Mask<T> argmax{};
    for (Size c = 0; c < task.cols; ++c) {
      const Vec<T> x = group.load_class(task.logits, c);
      const Mask<T> rises = ~(x <= largest) & (largest == largest);
      argmax = rises ? Mask<T>{} + static_cast<Int>(c) : argmax;
      largest = select<T>(rises, x, largest);
    }
    return argmax;
  }
  SOFTSTEP_INLINE Matrix<const S> gradient() const {
    return {task.dlogits.data, task.dlogits.stride};
  }
  SOFTSTEP_INLINE Vec<T> capped(Vec<T> x) const {
    if constexpr (kCapped)
      return soft_cap<T>(x, task.options.softcap);
    return x;
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
    if (kPoint && !task.options.smooths())
      return q; // whatever the weight: 0 * inf is 0
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

  SOFTSTEP_INLINE void write_gradient(const LaneState<T>& state) const {
    const Matrix<const S> logits = task.logits, kept = gradient();
    const Matrix<S> dlogits = task.dlogits;
    const Size cols = task.cols;
    const Vec<T> g = this->upstream(), factor = this->factor(state);
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
    const Vec<T> in_hole = this->gradient_at(state, elsewhere, there);
    for (Size c = 0; c < cols; ++c) {
      const Vec<T> x = logit(c), e = exponential(c, x);
      Vec<T> d = e * factor;
      if constexpr (kPoint && !kGathers)
        d = select<T>(is_target(c), in_hole, d);
      if constexpr (kDense)
        d -= g * mass_at(c, x, finite);
      if constexpr (!kPoint)
        d = select<T>(is_top(e) & certain, in_hole, d);
      if constexpr (kCapped)
        d *= Shift::slope(x, {task.scale, task.options.softcap});
      group.store_class(dlogits, c, d);
    }
    if constexpr (kGathers) {
      alignas(kVectorBytes) T values[kLanes<T>];
      store(values, in_hole);
      for_each_target([&](Size lane, Size c) SOFTSTEP_INLINE_LAMBDA {
        dlogits.data[c * dlogits.stride + group.first + lane] = values[lane];
      });
    }
  }
};

} // namespace
} // namespace softstep::KERNEL_ISA
