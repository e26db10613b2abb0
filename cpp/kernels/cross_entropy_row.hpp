// Cross-entropy of one row, its classes adjacent: two sweeps.
// The formulas are at the head of row_loss.hpp.
#pragma once

#include "row_loss.hpp"

namespace softstep::KERNEL_ISA {
namespace {

// kKeep: there is a gradient, for which the exponentials of the first sweep are kept in dlogits or
// the scratch. Otherwise one that is wanted makes them again.
template <class S, class Shift, bool kDense, bool kKeep>
class CrossEntropyRow : private RowLoss<S, kDense> {
  using Loss = RowLoss<S, kDense>;
  using Loss::pull_mass, Loss::scale, Loss::single, Loss::u_of;
  using Loss::task, Loss::target, Loss::sums, Loss::sum, Loss::mass, Loss::spread, Loss::drift;

public:
  using T = Compute<S>;

  CrossEntropyRow(const CrossEntropyTask<S>& task_, Size row)
      : Loss(task_, row),
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
    whole = false;
    if (sums.in_top == 1)
      find_top();
    conclude();
  }

private:
  S* const d;
  T* const kept;   // the exponentials between the sweeps
  const Size hole; // a single target's exponential stays out of the sum: see take_logs
  RowSweep<S, Shift, kKeep> sweep;
  const bool ignored;
  RowGathered<S> gathered;
  T logits[kKeep ? 1 : kMaxPoints]; // of the points, which an in-place sweep overwrites
  Size top = -1;                    // the class of sums.in_top, if it is in this segment
  T top_logit = 0;
  bool whole = true; // this is all of the row

  [[gnu::noinline]] void conclude() {
    this->sum_up();
    // The logarithms are slow and seldom needed for the gradient: they wait until it is under way.
    const bool logs_first = task.options.z_loss != 0 || task.options.gamma != 0;
    if (logs_first)
      this->take_logs();
    if (kKeep || d)
      write_gradient();
    if (!logs_first)
      this->take_logs();
    this->write_results(gathered);
  }

  void ignore() {
    this->write_nothing();
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
      if constexpr (kDense)
        if (!kKeep || has_dense_mass(task)) {
          if (max > reference && reference != -kInfinity<T>) {
            const double by = (static_cast<double>(reference) - static_cast<double>(max)) * scale;
            const double in_hole =
                hole >= 0 && hole < begin ? exp_scalar(u_of_point(0, sweep.max)) : 0;
            gathered.shift_by(by, sweep.factor(reference, max), sweep.sum + in_hole);
          }
          reference = max;
          gathered.template gather<Shift>(target, begin, end, Shift(max, sweep.scale));
        }
      if (task.argmax)
        gathered.find_largest(target.x, begin, end);
    });
  }

  double u_of_point(Size k, T max) const {
    return u_of(static_cast<double>(Shift::cap(logits[k], sweep.scale)), static_cast<double>(max));
  }
  // All that the first sweep found.
  [[gnu::noinline]] void add_up() {
    // Relative to an infinity the sum says nothing, but for a NaN.
    const bool empty = sweep.infinite && !sweep.nan;
    sums.max = static_cast<double>(sweep.max);
    sums.others = empty ? 0 : sweep.sum;
    sums.in_target = sweep.infinite ? 0 : sweep.in_hole;
    sums.target_logit = hole >= 0 ? static_cast<double>(Shift::cap(logits[0], sweep.scale)) : 0;
    sums.in_top = sums.point_mass = sums.point_moment = 0;
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
    if (sweep.is_certain()) {
      take_top(sweep.top_class(kept, target.x));
      sums.in_top = 1;
      sums.others = sweep.sum_without(top, kept, target.x);
    }
    for (Size k = 0; k < target.points; ++k) {
      const double a = target.point_mass(k);
      if (a == 0)
        continue; // no mass, no loss, also at a class of -inf
      sums.point_mass += a;
      sums.point_moment += a * u_of_point(k, sweep.max);
    }
  }

  void write_gradient() {
    const double g = static_cast<double>(task.upstream) * this->row_weight() * scale;
    const double total = g * (mass + pull_mass + drift) / sum;
    const auto less = [this, keep = broadcast(static_cast<T>(g * target.keep())),
                       spread_g = broadcast(static_cast<T>(g * spread))](Vec<T> p, Size i)
                          SOFTSTEP_INLINE_LAMBDA {
                            if (has_probabilities(task))
                              p -= keep * target.probability(i);
                            return spread != 0 ? p - spread_g * target.smoothed(i) : p;
                          };
    if constexpr (!kKeep)
      write_classes(total, less);
    else if (!kDense || !has_dense_mass(task))
      write_classes<true>(total, [](Vec<T> p, Size) { return p; });
    else if (spreads_evenly(task))
      write_classes(total,
                    [q = broadcast(static_cast<T>(g * spread))](Vec<T> p, Size) { return p - q; });
    else
      write_classes(total, less);
    write_points(g);
    if constexpr (kDense)
      if (top >= 0)
        put(d + top, g * top_gradient());
  }

  // total times the exponentials, less the dense mass, if it is not kSparse.
  template <bool kSparse = false, class Less>
  SOFTSTEP_INLINE void write_classes(double total, Less less) {
    if constexpr (kKeep) {
      sweep.for_each_run([&, to = d, e = kept](Size begin, Size end, double correction) {
        const T scalar = static_cast<T>(total * correction);
        const Vec<T> factor = broadcast(scalar);
        if constexpr (kSparse && !kKeepsExponentials<S>)
          if (scalar - scalar == 0) // finite, so no NaN in the row: its sum would be NaN
            return map_row<true>(to, begin, end, [&](Size i) { return load(e + i) * factor; });
        map_row(to, begin, end, [&](Size i) { return less(load(e + i) * factor, i); });
      });
    } else {
      const Vec<T> factor = broadcast(static_cast<T>(total));
      const Shift shift(static_cast<T>(sums.max), sweep.scale);
      map_row<false, Body::kLong>(d, 0, task.cols, [&](Size i) {
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

  // The same of the class that has nearly all of the probability, from what the others have.
  [[gnu::noinline]] double top_gradient() const {
    const auto [there, elsewhere] =
        whole ? target.masses_at(top, spread, sums) : target.masses_in_segment(top, spread, sums);
    const double slope = static_cast<double>(Shift::slope(broadcast(top_logit), sweep.scale)[0]);
    return slope * ((elsewhere + drift) / sum - there * (sums.others / sum));
  }

  void take_top(Size c) {
    top = c;
    if constexpr (!kKeep) // the exponentials have overwritten it, but then there is no softcap
      top_logit = static_cast<T>(get(target.x + c));
  }
  void find_top() {
    const T largest = max_row(target.x, 0, task.cols);
    if (static_cast<double>(Shift::cap(largest, sweep.scale)) == sums.max)
      take_top(index_of(largest, target.x, 0, task.cols));
  }

  // Half precision cannot hold them without a second rounding. Of two rows under way, each has its
  // half of the scratch.
  static T* exponentials(const CrossEntropyTask<S>& task, S* row_of_d, Size row) {
    if constexpr (kKeepsExponentials<S>)
      return row_of_d;
    else
      return task.scratch + (pairs_rows<T>(task.cols) ? row % 2 * task.cols : 0);
  }
};

} // namespace
} // namespace softstep::KERNEL_ISA
