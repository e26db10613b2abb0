// Cross-entropy of one row, its classes adjacent: two sweeps.
//
// With u = (x - max) / T, s = sum exp(u), points of mass a_k at the classes t_k and a dense mass q:
//   loss = sum_k a_k (log s - u_k) + (sum q) log s - sum q u + z_loss lse^2
//   dx_c = [A p_c - (sum of the a_k at c) - q_c] / T,  A = sum a + sum q + 2 z_loss lse
// times the slope of the softcap. A class target is one point, a = (1 - smoothing) w_t, and
// q_c = smoothing w_c / C; probabilities are q_c = w_c ((1 - smoothing) q_c + smoothing / C).
// With a gamma a class target's a is F a in the loss and B a in the gradient, where
//   F = (1 - p_t)^gamma,  B = F (1 + gamma p_t nll / (1 - p_t)).
#pragma once

#include "target_mass.hpp"

namespace softstep::KERNEL_ISA {
namespace {

// kKeep: there is a gradient, for which the exponentials of the first sweep are kept in dlogits or
// the scratch. Otherwise one that is wanted makes them again.
template <class S, class Shift, bool kDense, bool kKeep> class CrossEntropyRow {
public:
  using T = Compute<S>;

  CrossEntropyRow(const CrossEntropyTask<S>& task_, Size row)
      : task(task_), target(task_, row), scale(static_cast<double>(task_.scale)),
        d(kKeep || task_.dlogits.data ? task_.dlogits.data + row * task_.dlogits.stride : nullptr),
        kept(kKeep ? exponentials(task_, d, row) : nullptr),
        hole(target.points == 1 ? target.point(0) : -1),
        sweep(task_.cols, {task_.scale, task_.options.softcap}), ignored(target.ignored()) {}

  [[gnu::noinline]] void start() {
    if (!ignored)
      sweep.start(target.x);
  }
  [[gnu::noinline]] void run() {
    if (!ignored)
      sweep_logits();
  }
  [[gnu::noinline]] void finish() {
    if (ignored)
      return ignore();
    add_up();
    conclude();
  }

  // The same for a segment of the row's classes: what start and run found of it, and, with the sums
  // of all segments, its part of the gradient and the row's results.
  SOFTSTEP_INLINE RowSums of_segment() {
    sums = {};
    sums.max = -kInfinity<double>;
    if (!ignored)
      add_up();
    return sums;
  }
  [[gnu::noinline]] void finish(const RowSums& of_row) {
    if (ignored)
      return ignore();
    read_points();
    sums = of_row;
    conclude();
  }

private:
  const CrossEntropyTask<S>& task;
  const RowTarget<S> target;
  const double scale;
  S* const d;
  T* const kept;   // the exponentials between the sweeps
  const Size hole; // a single target's exponential stays out of the sum: see take_logs
  RowSweep<S, Shift, kKeep> sweep;
  const bool ignored;
  RowGathered<S> gathered;
  T logits[kKeep ? 1 : kMaxPoints]; // of the points, which an in-place sweep overwrites
  RowSums sums;

  bool at_infinity; // +inf and no NaN: the probabilities of the others are 0
  double sum, log_s, nll, lse;
  double mass, moment;  // of the dense mass: probabilities and smoothing
  double spread, drift; // smoothing per class; 2 z_loss lse
  double pull_mass;     // of the points in the gradient: sums.point_mass, unless there is a gamma

  SOFTSTEP_INLINE bool single() const { return target.points == 1; }

  SOFTSTEP_INLINE void conclude() {
    sum_up();
    // The logarithms are slow and seldom needed for the gradient: they wait until it is under way.
    const bool logs_first = task.options.z_loss != 0 || task.options.gamma != 0;
    if (logs_first)
      take_logs();
    if (kKeep || d)
      write_gradient();
    if (!logs_first)
      take_logs();
    write_results();
  }

  void ignore() {
    T* const results[] = {task.loss, task.lse, task.nll, task.entropy, task.dtemperature};
    for (T* result : results)
      set(result, 0);
    if (task.argmax)
      task.argmax[target.row] = kIgnoredRow;
    if (kKeep || d)
      map_row(d, 0, task.cols, [](Size) { return Vec<T>{}; });
  }

  void read_points() {
    for (Size k = 0; k < target.points; ++k)
      logits[k] = target.point(k) < 0 ? T(0) : static_cast<T>(get(target.x + target.point(k)));
  }

  void sweep_logits() {
    read_points();
    T reference = -kInfinity<T>;
    sweep.run(kept, target.x, hole, [&](Size begin, Size end, T max) {
      const auto u = [&, shift = Shift(max, sweep.scale)](Size i) {
        return shift(load(target.x + i));
      };
      if constexpr (kDense || !kKeep) {
        if (max > reference && reference != -kInfinity<T>) {
          const double by = (static_cast<double>(reference) - static_cast<double>(max)) * scale;
          const double in_hole =
              hole >= 0 && hole < begin ? exp_scalar(u_of_point(0, sweep.max)) : 0;
          gathered.shift_by(by, sweep.factor(reference, max), sweep.sum + in_hole);
        }
        reference = max;
      }
      if constexpr (kDense)
        gathered.add_dense(target, begin, end, u);
      if constexpr (!kKeep)
        if (task.entropy || task.dtemperature)
          gathered.add_expectation(begin, end, u);
      if (task.argmax)
        gathered.find_largest(target.x, begin, end);
    });
  }

  double u_of_point(Size k, T max) const {
    return u_of(static_cast<double>(Shift::cap(logits[k], sweep.scale)), static_cast<double>(max));
  }
  double u_of(double capped, double max) const {
    return (capped - (max == -kInfinity<double> ? 0 : max)) * scale;
  }

  // All that the first sweep found.
  SOFTSTEP_INLINE void add_up() {
    // Relative to an infinity the sum says nothing, but for a NaN.
    const bool empty = sweep.infinite && !sweep.nan;
    sums.max = static_cast<double>(sweep.max);
    sums.others = empty ? 0 : sweep.sum;
    sums.in_target = sweep.infinite ? 0 : sweep.in_hole;
    sums.target_logit = hole >= 0 ? static_cast<double>(Shift::cap(logits[0], sweep.scale)) : 0;
    sums.point_mass = sums.point_moment = 0;
    if constexpr (kDense) {
      sums.mass = gathered.probability.mass;
      sums.moment = gathered.probability.moment;
      sums.smoothed_mass = gathered.smoothed.mass;
      sums.smoothed_moment = gathered.smoothed.moment;
      sums.finite = gathered.finite;
    }
    if (single()) {
      sums.point_mass = target.point_mass(0);
      return;
    }
    for (Size k = 0; k < target.points; ++k) {
      const double a = target.point_mass(k);
      if (a == 0)
        continue; // no mass, no loss, also at a class of -inf
      sums.point_mass += a;
      sums.point_moment += a * u_of_point(k, sweep.max);
    }
  }

  double point_moment() const {
    if (!single())
      return sums.point_moment;
    return pull_mass != 0 ? pull_mass * u_of(sums.target_logit, sums.max) : 0;
  }

  // What the results and the gradient need of the sums.
  SOFTSTEP_INLINE void sum_up() {
    sum = sums.others + sums.in_target;
    at_infinity = sums.max == kInfinity<double> && sum == sum;
    if (at_infinity)
      sum = kInfinity<double> - kInfinity<double>;
    drift = mass = moment = spread = 0;
    pull_mass = sums.point_mass;
    if constexpr (kDense) {
      const double classes = sums.finite - (task.options.smooths_others() ? 1 : 0);
      if (task.options.smooths() && classes > 0)
        spread = static_cast<double>(task.options.label_smoothing) / classes;
      mass = target.keep() * sums.mass;
      moment = target.keep() * sums.moment;
      if (spread != 0) {
        mass += spread * sums.smoothed_mass;
        moment += spread * sums.smoothed_moment;
      }
    }
  }

  void take_logs() {
    const double u = single() ? u_of(sums.target_logit, sums.max) : 0;
    if (at_infinity) {
      log_s = 0;
      nll = -u;
    } else if (!(sum > 0)) { // all classes -inf, or a NaN
      log_s = nll = sum / sum;
    } else if (sums.in_target >=
               sums.others) { // near certainty the target must not hide the others
      nll = log1p_scalar(sums.others / sums.in_target);
      log_s = nll + u;
    } else {
      log_s = log_scalar(sum);
      nll = log_s - u;
    }
    const double top = sums.max * scale;
    const bool masked = sums.max == -kInfinity<double> && sum == 0;
    lse = masked ? top : top + log_s; // -inf for a row of -inf
    drift = task.options.z_loss != 0 ? 2 * static_cast<double>(task.options.z_loss) * lse : 0;
    if (task.options.gamma != 0)
      focus();
  }

  // 1 - p_t from the other classes: no cancellation.
  void focus() {
    const double gamma = static_cast<double>(task.options.gamma);
    const double rest = at_infinity ? 1 : sums.others / sum,
                 p = at_infinity ? 0 : sums.in_target / sum;
    const double factor = rest == 0 ? 0 : exp_scalar(gamma * log_scalar(rest));
    const double per_rest = rest == 0 ? 1 : nll / rest; // of log(1 + rest / p) / rest
    sums.point_mass *= factor;
    pull_mass = p == 0 ? sums.point_mass : sums.point_mass * (1 + gamma * p * per_rest);
  }

  void write_results() {
    const double weight = task.row_weight ? static_cast<double>(task.row_weight[target.row]) : 1;
    // A part without mass has no loss, also where log s is undefined.
    double loss = (mass != 0 ? mass * log_s : 0) - moment;
    if (sums.point_mass != 0)
      loss += sums.point_mass * (single() ? nll : log_s) - (single() ? 0 : sums.point_moment);
    if (drift != 0)
      loss += drift * lse / 2;
    set(task.loss, loss * weight);
    set(task.lse, lse);
    set(task.nll, single() ? nll : 0);
    if (task.argmax)
      task.argmax[target.row] = gathered.argmax;
    if constexpr (!kKeep) {
      const double expectation = gathered.expectation / sum; // of u
      set(task.entropy, sum > 0 ? log_s - expectation : sum / sum);
      const double pull = (mass + pull_mass + drift) * expectation - moment - point_moment();
      const double drift_pull = drift != 0 ? sums.max * scale * drift : 0;
      set(task.dtemperature, -weight * scale * (pull + drift_pull));
    }
  }

  void write_gradient() {
    const double weight = task.row_weight ? static_cast<double>(task.row_weight[target.row]) : 1;
    const double g = static_cast<double>(task.upstream) * weight * scale;
    const double total = g * (mass + pull_mass + drift) / sum;
    if constexpr (!kDense)
      write_classes(total, [](Vec<T> p, Size) { return p; });
    else if (target.spreads_evenly())
      write_classes(total,
                    [q = broadcast(static_cast<T>(g * spread))](Vec<T> p, Size) { return p - q; });
    else
      write_classes(total, [this, keep = broadcast(static_cast<T>(g * target.keep())),
                            spread_g = broadcast(static_cast<T>(g * spread))](Vec<T> p, Size i)
                               SOFTSTEP_INLINE_LAMBDA {
                                 if (has_probabilities(task))
                                   p -= keep * target.probability(i);
                                 return spread != 0 ? p - spread_g * target.smoothed(i) : p;
                               });
    write_points(g);
  }

  // total times the exponentials, less the dense mass.
  template <class Less> SOFTSTEP_INLINE void write_classes(double total, Less less) {
    if constexpr (kKeep) {
      sweep.for_each_run([&, to = d, e = kept](Size begin, Size end, double correction) {
        const T scalar = static_cast<T>(total * correction);
        const Vec<T> factor = broadcast(scalar);
        if constexpr (!kDense && !kKeepsExponentials<S>)
          if (scalar - scalar == 0) // finite, so no NaN in the row: its sum would be NaN
            return map_row<true>(to, begin, end, [&](Size i) { return load(e + i) * factor; });
        map_row(to, begin, end, [&](Size i) { return less(load(e + i) * factor, i); });
      });
    } else {
      const Vec<T> factor = broadcast(static_cast<T>(total));
      const Shift shift(static_cast<T>(sums.max), sweep.scale);
      map_row(d, 0, task.cols, [&](Size i) {
        const Vec<T> x = load(target.x + i);
        return less(exp<T>(shift(x)) * factor, i) * Shift::slope(x, sweep.scale);
      });
    }
  }

  void write_points(double g) {
    for (Size k = 0; k < target.points; ++k)
      if (target.point(k) >= 0)
        put(d + target.point(k), g * point_gradient(k));
  }

  // The gradient at a point's class, times T: all that lies on the class, for a single rounding.
  double point_gradient(Size k) const {
    const Size c = target.point(k);
    const double u = u_of_point(k, static_cast<T>(sums.max)),
                 p = (single() ? sums.in_target : exp_scalar(u)) / sum,
                 q = target.is_smoothed(c, logits[k]) ? spread * target.weight(c) : 0;
    double at_class = 0;
    for (Size j = 0; j < target.points; ++j)
      if (target.point(j) == c)
        at_class += target.point_mass(j);
    // p - 1 from the other classes: no cancellation.
    const double gradient = single() ? (mass + drift) * p - pull_mass * (sums.others / sum) - q
                                     : (mass + pull_mass + drift) * p - at_class - q;
    return gradient * static_cast<double>(Shift::slope(broadcast(logits[k]), sweep.scale)[0]);
  }

  // Half precision cannot hold them without a second rounding. Of two rows under way, each has its
  // half of the scratch.
  static T* exponentials(const CrossEntropyTask<S>& task, S* row_of_d, Size row) {
    if constexpr (kKeepsExponentials<S>)
      return row_of_d;
    else
      return task.scratch + (pairs_rows<T>(task.cols) ? row % 2 * task.cols : 0);
  }

  void set(T* results, double value) const {
    if (results)
      results[target.row] = static_cast<T>(value);
  }
};

} // namespace
} // namespace softstep::KERNEL_ISA
