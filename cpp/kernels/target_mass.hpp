// What a row's target is made of: points, each a class with a mass of its own, and the dense mass
// that lies on all classes: probabilities and label smoothing. Class weights multiply both.
#pragma once

#include "row_sweep.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <class S> SOFTSTEP_INLINE bool has_probabilities(const CrossEntropyTask<S>& task) {
  return task.probabilities.data || task.wide_probabilities.data;
}

template <class S> SOFTSTEP_INLINE bool has_dense_mass(const CrossEntropyTask<S>& task) {
  return has_probabilities(task) || task.options.smooths();
}

// The dense mass, if there is any, is the same for all classes.
template <class S> SOFTSTEP_INLINE bool spreads_evenly(const CrossEntropyTask<S>& task) {
  return !has_probabilities(task) && !task.weight && !task.options.smooths_allowed() &&
         !task.options.smooths_others();
}

// Whether the exponentials can be kept between the sweeps, in dlogits or the scratch. Otherwise
// they are made again, from the logits.
template <class S> SOFTSTEP_INLINE bool keeps_exponentials(const CrossEntropyTask<S>& task) {
  return (kKeepsExponentials<S> || task.scratch || !task.dlogits.data) &&
         task.options.softcap == 0 && !task.options.smooths_allowed() && !task.entropy &&
         !task.dtemperature;
}

template <class S> struct RowTarget {
  using T = Compute<S>;
  const CrossEntropyTask<S>& task;
  Size row;
  const S* x;
  const S* probabilities;
  const T* wide_probabilities;
  Size points;

  SOFTSTEP_INLINE RowTarget(const CrossEntropyTask<S>& t, Size r)
      : task(t), row(r), x(t.logits.data + r * t.logits.stride),
        probabilities(row_of(t.probabilities, r)),
        wide_probabilities(row_of(t.wide_probabilities, r)),
        points(has_probabilities(t) ? 0 : t.points) {}

  template <class P> SOFTSTEP_INLINE static const P* row_of(Matrix<const P> m, Size r) {
    return m.data ? m.data + r * m.stride : nullptr;
  }

  SOFTSTEP_INLINE bool ignored() const {
    if (!task.target)
      return false;
    for (Size k = 0; k < (points > 1 ? points : 1); ++k)
      if (task.target[k * task.point_stride + row] != kIgnoredRow)
        return false;
    return true;
  }
  // kIgnoredRow: this point is none, or in another segment.
  SOFTSTEP_INLINE Size point(Size k) const {
    const Size c = task.target[k * task.point_stride + row] - task.first;
    return c >= 0 && c < task.cols ? c : kIgnoredRow;
  }
  SOFTSTEP_INLINE double weight(Size c) const {
    return task.weight ? static_cast<double>(task.weight[c]) : 1;
  }
  SOFTSTEP_INLINE double point_mass(Size k) const {
    if (point(k) == kIgnoredRow)
      return 0;
    const double mass = task.mass ? static_cast<double>(task.mass[k * task.point_stride + row]) : 1;
    return keep() * mass * weight(point(k));
  }

  // Dense mass of class c = keep() * probability(c) + (smoothing / classes smoothed over) *
  // smoothed(c).
  SOFTSTEP_INLINE double keep() const {
    return 1 - static_cast<double>(task.options.label_smoothing);
  }
  SOFTSTEP_INLINE Vec<T> probability(Size c) const {
    const Vec<T> q = probabilities ? load(probabilities + c) : load(wide_probabilities + c);
    return task.weight ? q * load(task.weight + c) : q;
  }
  SOFTSTEP_INLINE Vec<T> smoothed(Size c) const {
    Vec<T> q = task.weight ? load(task.weight + c) : broadcast(T(1));
    if (task.options.smooths_allowed())
      q = select<T>(load(x + c) == -kInfinity<T>, Vec<T>{}, q);
    if (task.options.smooths_others())
      q = select<T>(without_hole<T>(point(0), c), q, Vec<T>{});
    return q;
  }
  // The mass on one class, and that on all others.
  struct Split {
    double there, elsewhere;
  };
  // Of a whole row, without cancellation but for what is smoothed.
  [[gnu::noinline]] Split masses_at(Size c, double spread, const RowSums& sums) const {
    Split mass{0, 0};
    for (Size k = 0; k < points; ++k)
      (point(k) == c ? mass.there : mass.elsewhere) += point_mass(k);
    if (has_probabilities(task)) {
      mass.there += keep() * probability_at(c);
      mass.elsewhere += keep() * probability_without(c);
    }
    const double smoothed = spread * weight(c);
    return {mass.there + smoothed, mass.elsewhere + (spread * sums.smoothed_mass - smoothed)};
  }
  // The others may be anywhere.
  [[gnu::noinline]] Split masses_in_segment(Size c, double spread, const RowSums& sums) const {
    double there = spread * weight(c);
    for (Size k = 0; k < points; ++k)
      there += point(k) == c ? point_mass(k) : 0;
    if (has_probabilities(task))
      there += keep() * probability_at(c);
    return {there, keep() * sums.mass + sums.point_mass + spread * sums.smoothed_mass - there};
  }

  SOFTSTEP_INLINE bool is_smoothed(Size c, T logit) const {
    return !(task.options.smooths_allowed() && logit == -kInfinity<T>) &&
           !(task.options.smooths_others() && c == point(0));
  }

private:
  double probability_at(Size c) const {
    const double q = probabilities ? static_cast<double>(get(probabilities + c))
                                   : static_cast<double>(wide_probabilities[c]);
    return q * weight(c);
  }
  double probability_without(Size c) const {
    const RowBlocks blocks = cut_row(task.cols);
    double sum = 0;
    for (Size b = 0; b < blocks.count; ++b)
      sum +=
          static_cast<double>(sum_row<T, Body::kLong>(blocks.begin(b), blocks.end(b), [&](Size i) {
            return select<T>(without_hole<T>(c, i), probability(i), Vec<T>{});
          }));
    return sum;
  }
};

// sum q and sum q u of one part of the dense mass; the latter relative to the maximum so far.
struct MassSums {
  double mass = 0, moment = 0;

  template <class T, class Q, class U> SOFTSTEP_INLINE void add(Size begin, Size end, Q q, U u) {
    mass += static_cast<double>(sum_row<T>(begin, end, q));
    moment += static_cast<double>(sum_row<T, Body::kLong>(begin, end, [&](Size i) {
      const Vec<T> q_i = q(i);
      return select<T>(q_i == T(0), Vec<T>{}, q_i * u(i)); // 0 * -inf is 0
    }));
  }
  SOFTSTEP_INLINE void shift_by(double by) {
    if (mass != 0)
      moment += by * mass;
  }
};

// What the first sweep gathers beside the sum of exponentials, relative to the maximum so far.
template <class S> struct RowGathered {
  using T = Compute<S>;
  MassSums probability, smoothed;
  double finite = 0;      // classes that are smoothed over
  double expectation = 0; // sum of e u over all classes
  T largest = -kInfinity<T>;
  std::int32_t argmax = 0;

  // The maximum rises: every u changes by `by`, every e by the factor f. `sum` is the new sum of e.
  SOFTSTEP_INLINE void shift_by(double by, double f, double sum) {
    probability.shift_by(by);
    smoothed.shift_by(by);
    expectation = f == 0 ? 0 : f * expectation + by * sum; // 0 * -inf is 0
  }

  // Of a block's logits. One instance for all that sweep by this shift.
  template <class Shift>
  [[gnu::noinline]] void gather(const RowTarget<S>& target, Size begin, Size end,
                                const Shift& shift) {
    const auto u = [&](Size i) SOFTSTEP_INLINE_LAMBDA { return shift(load(target.x + i)); };
    add_dense<Shift::kCapped ? Body::kLong : Body::kShort>(target, begin, end, u);
    if (target.task.entropy || target.task.dtemperature)
      expectation += static_cast<double>(sum_row<T, Body::kLong>(begin, end, [&](Size i) {
        const Vec<T> v = u(i), e = exp<T>(v);
        return select<T>(e == T(0), Vec<T>{}, e * v); // 0 * -inf is 0
      }));
  }

  // The first NaN, if there is one, as in NumPy.
  [[gnu::noinline]] void find_largest(const S* x, Size begin, Size end) {
    if (largest != largest)
      return;
    if (has_nan(x, begin, end)) {
      for (argmax = static_cast<std::int32_t>(begin); largest == largest; ++argmax)
        largest = static_cast<T>(get(x + argmax));
      --argmax;
      return;
    }
    const T top = max_row(x, begin, end);
    if (!(top > largest))
      return;
    largest = top;
    argmax = static_cast<std::int32_t>(index_of(top, x, begin, end));
  }

private:
  template <Body kLogits, class U>
  SOFTSTEP_INLINE void add_dense(const RowTarget<S>& target, Size begin, Size end, U u) {
    if (has_probabilities(target.task))
      probability.template add<T>(begin, end, [&](Size i) { return target.probability(i); }, u);
    if (!target.task.options.smooths())
      return;
    if (spreads_evenly(target.task)) {
      smoothed.mass += static_cast<double>(end - begin);
      smoothed.moment += static_cast<double>(sum_row<T, kLogits>(begin, end, u));
      finite += static_cast<double>(end - begin);
      return;
    }
    smoothed.template add<T>(begin, end, [&](Size i) { return target.smoothed(i); }, u);
    finite +=
        !target.task.options.smooths_allowed()
            ? static_cast<double>(end - begin)
            : static_cast<double>(sum_row<T, Body::kLong>(begin, end, [&](Size i) {
                return select<T>(load(target.x + i) == -kInfinity<T>, Vec<T>{}, broadcast(T(1)));
              }));
  }
};

} // namespace
} // namespace softstep::KERNEL_ISA
