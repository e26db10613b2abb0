// Cross-entropy with its gradient, one row per lane. The formulas are those of
// cross_entropy_rows.cpp; here every quantity of a row is a lane.
#include "families.hpp"
#include "lane_targets.hpp"
#include "target_mass.hpp"

namespace softstep::KERNEL_ISA {
namespace {

// kPoint: one class target, whose exponential stays out of the sum. kKeep: the exponentials stay in
// dlogits from the first sweep to the second.
template <class S, class Shift, bool kPoint, bool kDense, bool kGradient, bool kKeep, class Group>
class CrossEntropyLanes {
  using T = Compute<S>;
  using Int = typename LaneInt<T>::type;

public:
  SOFTSTEP_INLINE CrossEntropyLanes(const CrossEntropyTask<S>& task_, Group group_)
      : task(task_), group(group_), by_point(!has_probabilities(task_)),
        target(task_.target ? load_targets<T>(group_, task_.target) : Mask<T>{}),
        ignored(ignored_rows()) {}

  SOFTSTEP_INLINE void run() {
    top = max_lanes<T>(group, task.logits, task.cols);
    for (Size lane = 0; lane < group.count; ++lane)
      if constexpr (kCapped)
        top[lane] = Shift::cap(top[lane], {task.scale, task.softcap});
    infinite = infinite_lanes<T>(group, task.logits, task.cols, top);
    count_finite();
    sweep_logits();
    sum_up();
    write_results();
    if constexpr (kGradient)
      write_gradient();
  }

private:
  static constexpr bool kCapped = Shift::kCapped;

  const CrossEntropyTask<S>& task;
  const Group group;
  const bool by_point;
  const Mask<T> target, ignored;
  Vec<T> top, finite, others, sum, in_hole{}, u_t{}, point{}, mass{}, moment{}, expectation{};
  Vec<T> log_s, nll, lse, drift{};
  Mask<T> infinite, argmax{};

  SOFTSTEP_INLINE Mask<T> ignored_rows() const {
    Mask<T> none = target == static_cast<Int>(kIgnoredRow);
    for (Size k = 1; by_point && k < task.points; ++k)
      none &= load_targets<T>(group, task.target + k * task.point_stride) ==
              static_cast<Int>(kIgnoredRow);
    return none;
  }
  SOFTSTEP_INLINE Mask<T> is_target(Size c) const { return target == static_cast<Int>(c); }
  SOFTSTEP_INLINE Vec<T> logit(Size c) const { return group.load_class(task.logits, c); }
  SOFTSTEP_INLINE Vec<T> u_of(Vec<T> x) const {
    if constexpr (kCapped)
      x = soft_cap<T>(x, task.softcap);
    return (x - finite_reference<T>(top)) * task.scale;
  }

  SOFTSTEP_INLINE void count_finite() {
    const Size excluded = task.smooth_others && task.cols > 1 ? 1 : 0;
    finite = broadcast(static_cast<T>(task.cols - excluded));
    if (!kDense || !task.smooth_finite)
      return;
    for (Size c = 0; c < task.cols; ++c)
      finite -= select<T>(logit(c) == -kInfinity<T>, broadcast(T(1)), Vec<T>{});
  }

  // All mass on class c but that of a single class target.
  SOFTSTEP_INLINE Vec<T> mass_at(Size c, Vec<T> x) const {
    Vec<T> q{};
    if (task.label_smoothing != 0) {
      q = task.label_smoothing / finite;
      if (task.smooth_finite)
        q = select<T>(x == -kInfinity<T>, Vec<T>{}, q);
      if (task.smooth_others)
        q = select<T>(is_target(c), Vec<T>{}, q);
    }
    const Vec<T> keep = broadcast(T(1) - task.label_smoothing);
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

  SOFTSTEP_INLINE void sweep_logits() {
    LaneSum<T> others_sum, mass_sum, moment_sum, expectation_sum;
    const bool expects = !kKeep && (task.entropy || task.dtemperature);
    Vec<T> largest = broadcast(-kInfinity<T>);
    for_each_class(
        task.cols,
        [&](Size c) {
          const Vec<T> x = logit(c), u = u_of(x), e = exp<T>(u);
          if constexpr (kPoint) {
            const Mask<T> here = is_target(c);
            others_sum += select<T>(here, Vec<T>{}, e);
            u_t = select<T>(here, u, u_t);
            if (task.weight)
              point = select<T>(here, broadcast(task.weight[c]), point);
          } else {
            others_sum += e;
          }
          if constexpr (kDense) {
            const Vec<T> q = mass_at(c, x);
            mass_sum += q;
            moment_sum += select<T>(q == T(0), Vec<T>{}, q * u); // 0 * -inf is 0
          }
          if (expects)
            expectation_sum += select<T>(e == T(0), Vec<T>{}, e * u);
          if (task.argmax) {
            argmax = x > largest ? Mask<T>{} + static_cast<Int>(c) : argmax;
            largest = select<T>(x > largest, x, largest);
          }
          if constexpr (kGradient && kKeep)
            group.store_class(task.dlogits, c, e);
        },
        [&] {
          others_sum.fold();
          mass_sum.fold();
          moment_sum.fold();
          expectation_sum.fold();
        });
    others = others_sum.total();
    mass = mass_sum.total();
    moment = moment_sum.total();
    expectation = expectation_sum.total();
  }

  SOFTSTEP_INLINE void sum_up() {
    if constexpr (kPoint) {
      const Vec<T> a = task.mass ? group.load_from(task.mass) : broadcast(T(1));
      point = (T(1) - task.label_smoothing) * a * (task.weight ? point : broadcast(T(1)));
      in_hole = exp<T>(u_t);
    }
    sum = others + in_hole;
    const Vec<T> near = log1p<T>(others / in_hole), far = log<T>(sum);
    const Mask<T> likely = in_hole >= others, defined = sum > T(0);
    const Vec<T> undefined = sum / sum; // NaN: rows that are -inf throughout or hold a NaN
    log_s = select<T>(defined, select<T>(likely, near + u_t, far), undefined);
    nll = select<T>(defined, select<T>(likely, near, far - u_t), undefined);
    log_s = select<T>(infinite, Vec<T>{}, log_s); // relative to the infinity
    nll = select<T>(infinite, -u_t, nll);
    lse = top * task.scale;
    lse = select<T>(sum == T(0), lse, lse + log_s); // -inf for a row of -inf
    if (task.z_loss != 0)
      drift = T(2) * task.z_loss * lse;
  }

  SOFTSTEP_INLINE Vec<T> row_weight() const {
    return task.row_weight ? group.load_from(task.row_weight) : broadcast(T(1));
  }

  SOFTSTEP_INLINE void write_results() {
    // A part without mass has no loss, also where log s is undefined.
    Vec<T> loss{};
    if constexpr (kDense)
      loss = select<T>(mass == T(0), Vec<T>{}, mass * log_s) - moment;
    if constexpr (kPoint)
      loss += select<T>(point == T(0), Vec<T>{}, point * nll);
    if (task.z_loss != 0)
      loss += T(0.5) * drift * lse;
    set(task.loss, loss * row_weight());
    set(task.lse, lse);
    set(task.nll, kPoint ? nll : Vec<T>{});
    if (task.argmax)
      for (Size lane = 0; lane < group.count; ++lane)
        task.argmax[group.first + lane] =
            ignored[lane] ? kIgnoredRow : static_cast<std::int32_t>(argmax[lane]);
    if constexpr (!kKeep) {
      const Vec<T> mean = expectation / sum; // of u
      const Vec<T> undefined = sum / sum;
      set(task.entropy, select<T>(sum > T(0), log_s - mean, undefined));
      const Vec<T> point_moment = select<T>(point == T(0), Vec<T>{}, point * u_t);
      Vec<T> pull = (mass + point + drift) * mean - moment - point_moment;
      if (task.z_loss != 0)
        pull += top * task.scale * drift;
      set(task.dtemperature, -task.scale * row_weight() * pull);
    }
  }

  SOFTSTEP_INLINE void write_gradient() {
    const Vec<T> g = task.upstream * task.scale * row_weight();
    const Vec<T> factor = g * (mass + point + drift) / sum;
    // 1 - p_t from the other classes: no cancellation.
    const Vec<T> at_target = g * ((mass + drift) * (in_hole / sum) - point * (others / sum));
    for (Size c = 0; c < task.cols; ++c) {
      Vec<T> x{}, d;
      if constexpr (kKeep) {
        d = group.load_from(task.dlogits.data + c * task.dlogits.stride) * factor;
      } else {
        x = logit(c);
        d = exp<T>(u_of(x)) * factor;
      }
      if constexpr (kPoint)
        d = select<T>(is_target(c), at_target, d);
      if constexpr (kDense)
        d -= g * mass_at(c, x);
      if constexpr (kCapped)
        d *= Shift::slope(x, {task.scale, task.softcap});
      group.store_class(task.dlogits, c, select<T>(ignored, Vec<T>{}, d));
    }
  }

  SOFTSTEP_INLINE void set(T* results, Vec<T> values) const {
    if (results)
      group.store_to(results, select<T>(ignored, Vec<T>{}, values));
  }
};

template <class S, class Shift, bool kPoint, bool kDense, bool kGradient, bool kKeep>
void all_groups(const CrossEntropyTask<S>& task) {
  for_each_group<Compute<S>>(task.rows, [&](auto group) {
    CrossEntropyLanes<S, Shift, kPoint, kDense, kGradient, kKeep, decltype(group)>(task, group)
        .run();
  });
}

template <class S, bool kGradient> void plain(const CrossEntropyTask<S>& task) {
  using Shift = ScaledShift<Compute<S>>;
  if (has_probabilities(task) || task.points != 1)
    all_groups<S, Shift, false, true, kGradient, true>(task);
  else if (task.label_smoothing != 0)
    all_groups<S, Shift, true, true, kGradient, true>(task);
  else
    all_groups<S, Shift, true, false, kGradient, true>(task);
}

template <class S, bool kGradient> void general(const CrossEntropyTask<S>& task) {
  using Shift = CappedShift<Compute<S>>;
  if (has_probabilities(task) || task.points != 1)
    all_groups<S, Shift, false, true, kGradient, false>(task);
  else
    all_groups<S, Shift, true, true, kGradient, false>(task);
}

template <class S> void cross_entropy(const CrossEntropyTask<S>& task) noexcept {
  if constexpr (kKeepsExponentials<S>)
    if (keeps_exponentials(task))
      return task.dlogits.data ? plain<S, true>(task) : plain<S, false>(task);
  task.dlogits.data ? general<S, true>(task) : general<S, false>(task);
}

} // namespace

const CrossEntropyKernels<float> cross_entropy_lanes_f32 = {cross_entropy<float>};
const CrossEntropyKernels<double> cross_entropy_lanes_f64 = {cross_entropy<double>};
const CrossEntropyKernels<Float16> cross_entropy_lanes_f16 = {cross_entropy<Float16>};
const CrossEntropyKernels<BFloat16> cross_entropy_lanes_bf16 = {cross_entropy<BFloat16>};

} // namespace softstep::KERNEL_ISA
