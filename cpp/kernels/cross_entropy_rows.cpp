// Cross-entropy with its gradient, classes adjacent: two sweeps of the row.
//
// With u = (x - max) / T, s = sum exp(u), points of mass a_k at the classes t_k and a dense mass q:
//   loss = sum_k a_k (log s - u_k) + (sum q) log s - sum q u + z_loss lse^2
//   dx_c = [A p_c - (sum of the a_k at c) - q_c] / T,  A = sum a + sum q + 2 z_loss lse
// times the slope of the softcap. A class target is one point, a = (1 - smoothing) w_t, and
// q_c = smoothing w_c / C; probabilities are q_c = w_c ((1 - smoothing) q_c + smoothing / C).
#include "families.hpp"
#include "target_mass.hpp"

namespace softstep::KERNEL_ISA {
namespace {

// kKeep: the exponentials stay in dlogits from the first sweep to the second.
template <class S, class Shift, bool kDense, bool kGradient, bool kKeep> class CrossEntropyRow {
  using T = Compute<S>;

public:
  CrossEntropyRow(const CrossEntropyTask<S>& task_, Size row)
      : task(task_), target(task_, row), scale(static_cast<double>(task_.scale)),
        d(kGradient ? task_.dlogits.data + row * task_.dlogits.stride : nullptr),
        hole(target.points == 1 ? target.point(0) : -1),
        sweep(task_.cols, {task_.scale, task_.softcap}) {}

  void run() {
    if (target.ignored())
      return ignore();
    sweep_logits();
    sum_up();
    write_results();
    if constexpr (kGradient)
      write_gradient();
  }

private:
  const CrossEntropyTask<S>& task;
  const RowTarget<S> target;
  const double scale;
  S* const d;
  const Size hole; // a single target's exponential stays out of the sum: see row_logs
  RowSweep<S, Shift, kKeep && kGradient> sweep;
  RowGathered<S> gathered;
  T logits[kKeep ? 1 : kMaxPoints]; // of the points, which an in-place sweep overwrites

  double sum, log_s, nll, lse;
  double point_mass, point_moment; // sum a, sum a u
  double mass, moment;             // the same of the dense mass
  double spread, drift;            // smoothing per class; 2 z_loss lse

  void ignore() {
    T* const results[] = {task.loss, task.lse, task.nll, task.entropy, task.dtemperature};
    for (T* result : results)
      set(result, 0);
    if (task.argmax)
      task.argmax[target.row] = kIgnoredRow;
    if constexpr (kGradient)
      map_row(d, 0, task.cols, [](Size) { return Vec<T>{}; });
  }

  void sweep_logits() {
    for (Size k = 0; k < target.points; ++k)
      logits[k] = target.point(k) < 0 ? T(0) : static_cast<T>(get(target.x + target.point(k)));
    T reference = -kInfinity<T>;
    sweep.run(d, target.x, hole, [&](Size begin, Size end, T max) {
      const auto u = [&, shift = Shift(max, sweep.scale)](Size i) {
        return shift(load(target.x + i));
      };
      if constexpr (kDense || !kKeep) {
        if (max > reference && reference != -kInfinity<T>) {
          const double by = (static_cast<double>(reference) - static_cast<double>(max)) * scale;
          const double in_hole = hole >= 0 && hole < begin ? exp_scalar(u_of_point(0)) : 0;
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

  double u_of_point(Size k) const {
    const T capped = Shift::cap(logits[k], sweep.scale);
    return (static_cast<double>(capped) - static_cast<double>(sweep.max)) * scale;
  }

  void sum_up() {
    const double u = hole < 0 ? 0 : u_of_point(0), in_hole = hole < 0 ? 0 : exp_scalar(u);
    sum = sweep.sum + in_hole;
    if (sweep.infinite && !sweep.nan) { // relative to the infinity
      log_s = 0;
      nll = -u;
    } else if (!(sum > 0)) { // all classes -inf, or a NaN
      log_s = nll = sum / sum;
    } else if (in_hole >= sweep.sum) { // near certainty the target must not hide the others
      nll = log1p_scalar(sweep.sum / in_hole);
      log_s = nll + u;
    } else {
      log_s = log_scalar(sum);
      nll = log_s - u;
    }
    const double top = static_cast<double>(sweep.max) * scale;
    const bool masked =
        sweep.max == -kInfinity<T> && sweep.sum == 0 && (hole < 0 || logits[0] == -kInfinity<T>);
    lse = masked ? top : top + log_s; // -inf for a row of -inf
    drift = task.z_loss != 0 ? 2 * static_cast<double>(task.z_loss) * lse : 0;
    mass = moment = spread = point_mass = point_moment = 0;
    if constexpr (kDense) {
      const double classes = gathered.finite - (task.smooth_others ? 1 : 0);
      if (task.label_smoothing != 0 && classes > 0)
        spread = static_cast<double>(task.label_smoothing) / classes;
      mass = target.keep() * gathered.probability.mass;
      moment = target.keep() * gathered.probability.moment;
      if (spread != 0) {
        mass += spread * gathered.smoothed.mass;
        moment += spread * gathered.smoothed.moment;
      }
    }
    for (Size k = 0; k < target.points; ++k) {
      const double a = target.point_mass(k);
      if (a == 0)
        continue; // no mass, no loss, also at a class of -inf
      point_mass += a;
      point_moment += a * u_of_point(k);
    }
  }

  void write_results() {
    const double weight = task.row_weight ? static_cast<double>(task.row_weight[target.row]) : 1;
    // A part without mass has no loss, also where log s is undefined.
    double loss = (mass != 0 ? mass * log_s : 0) - moment;
    if (point_mass != 0)
      loss += hole >= 0 ? point_mass * nll : point_mass * log_s - point_moment;
    if (drift != 0)
      loss += drift * lse / 2;
    set(task.loss, loss * weight);
    set(task.lse, lse);
    set(task.nll, hole < 0 ? 0 : nll);
    if (task.argmax)
      task.argmax[target.row] = gathered.argmax;
    if constexpr (!kKeep) {
      const double expectation = gathered.expectation / sum; // of u
      set(task.entropy, sum > 0 ? log_s - expectation : sum / sum);
      const double pull = (mass + point_mass + drift) * expectation - moment - point_moment;
      const double drift_pull = drift != 0 ? static_cast<double>(sweep.max) * scale * drift : 0;
      set(task.dtemperature, -weight * scale * (pull + drift_pull));
    }
  }

  void write_gradient() {
    const double weight = task.row_weight ? static_cast<double>(task.row_weight[target.row]) : 1;
    const double g = static_cast<double>(task.upstream) * weight * scale;
    const double total = g * (mass + point_mass + drift) / sum;
    const Vec<T> g_keep = broadcast(static_cast<T>(g * target.keep()));
    const Vec<T> g_spread = broadcast(static_cast<T>(g * spread));
    const auto without_mass = [&](Vec<T> p, Size i) {
      if constexpr (kDense) {
        if (has_probabilities(task))
          p -= g_keep * target.probability(i);
        if (spread != 0)
          p -= g_spread * target.smoothed(i);
      }
      return p;
    };
    if constexpr (kKeep) {
      sweep.for_each_run([&](Size begin, Size end, double correction) {
        const Vec<T> factor = broadcast(static_cast<T>(total * correction));
        map_row(d, begin, end, [&](Size i) { return without_mass(load(d + i) * factor, i); });
      });
    } else {
      const Vec<T> factor = broadcast(static_cast<T>(total));
      const Shift shift(sweep.max, sweep.scale);
      map_row(d, 0, task.cols, [&](Size i) {
        const Vec<T> x = load(target.x + i);
        return without_mass(exp<T>(shift(x)) * factor, i) * Shift::slope(x, sweep.scale);
      });
    }
    for (Size k = 0; k < target.points; ++k)
      if (target.point(k) >= 0)
        put(d + target.point(k), g * point_gradient(k));
  }

  // The gradient at a point's class, times T: all that lies on the class, for a single rounding.
  double point_gradient(Size k) const {
    const Size c = target.point(k);
    const double p = exp_scalar(u_of_point(k)) / sum,
                 q = target.is_smoothed(c, logits[k]) ? spread * target.weight(c) : 0;
    double at_class = 0;
    for (Size j = 0; j < target.points; ++j)
      if (target.point(j) == c)
        at_class += target.point_mass(j);
    // p - 1 from the other classes: no cancellation.
    const double gradient = hole >= 0 ? (mass + drift) * p - point_mass * (sweep.sum / sum) - q
                                      : (mass + point_mass + drift) * p - at_class - q;
    return gradient * static_cast<double>(Shift::slope(broadcast(logits[k]), sweep.scale)[0]);
  }

  void set(T* results, double value) const {
    if (results)
      results[target.row] = static_cast<T>(value);
  }
};

template <class S, class Shift, bool kDense, bool kGradient, bool kKeep>
void all_rows(const CrossEntropyTask<S>& task) {
  for (Size row = 0; row < task.rows; ++row)
    CrossEntropyRow<S, Shift, kDense, kGradient, kKeep>(task, row).run();
}

template <class S, class Shift, bool kKeep> void by_target(const CrossEntropyTask<S>& task) {
  if (task.dlogits.data)
    has_dense_mass(task) ? all_rows<S, Shift, true, true, kKeep>(task)
                         : all_rows<S, Shift, false, true, kKeep>(task);
  else
    has_dense_mass(task) ? all_rows<S, Shift, true, false, kKeep>(task)
                         : all_rows<S, Shift, false, false, kKeep>(task);
}

template <class S> void cross_entropy(const CrossEntropyTask<S>& task) noexcept {
  using T = Compute<S>;
  if constexpr (kKeepsExponentials<S>) {
    if (keeps_exponentials(task) && task.points <= 1)
      return task.scale == 1 ? by_target<S, UnitShift<T>, true>(task)
                             : by_target<S, ScaledShift<T>, true>(task);
  } else if (task.softcap == 0) {
    return by_target<S, ScaledShift<T>, false>(task);
  }
  task.dlogits.data ? all_rows<S, CappedShift<T>, true, true, false>(task)
                    : all_rows<S, CappedShift<T>, true, false, false>(task);
}

} // namespace

const CrossEntropyKernels<float> cross_entropy_rows_f32 = {cross_entropy<float>};
const CrossEntropyKernels<double> cross_entropy_rows_f64 = {cross_entropy<double>};
const CrossEntropyKernels<Float16> cross_entropy_rows_f16 = {cross_entropy<Float16>};
const CrossEntropyKernels<BFloat16> cross_entropy_rows_bf16 = {cross_entropy<BFloat16>};

} // namespace softstep::KERNEL_ISA
