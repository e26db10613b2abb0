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
public:
  using T = Compute<S>;

  CrossEntropyRow(const CrossEntropyTask<S>& task_, Size row)
      : task(task_), target(task_, row), scale(static_cast<double>(task_.scale)),
        d(kGradient ? task_.dlogits.data + row * task_.dlogits.stride : nullptr),
        kept(kKeep && kGradient ? exponentials(task_, d, row) : nullptr),
        hole(target.points == 1 ? target.point(0) : -1),
        sweep(task_.cols, {task_.scale, task_.softcap}), ignored(target.ignored()) {}

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
    sum_up();
    // The logarithms are slow and seldom needed for the gradient: they wait until it is under way.
    if (task.z_loss != 0)
      take_logs();
    if constexpr (kGradient)
      write_gradient();
    if (task.z_loss == 0)
      take_logs();
    write_results();
  }

private:
  const CrossEntropyTask<S>& task;
  const RowTarget<S> target;
  const double scale;
  S* const d;
  T* const kept;   // the exponentials between the sweeps
  const Size hole; // a single target's exponential stays out of the sum: see row_logs
  RowSweep<S, Shift, kKeep && kGradient> sweep;
  const bool ignored;
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
    sweep.run(kept, target.x, hole, [&](Size begin, Size end, T max) {
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

  void take_logs() {
    const double u = hole < 0 ? 0 : u_of_point(0);
    if (sweep.infinite && !sweep.nan) { // relative to the infinity
      log_s = 0;
      nll = -u;
    } else if (!(sum > 0)) { // all classes -inf, or a NaN
      log_s = nll = sum / sum;
    } else if (sweep.in_hole >= sweep.sum) { // near certainty the target must not hide the others
      nll = log1p_scalar(sweep.sum / sweep.in_hole);
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
  }

  void sum_up() {
    sum = sweep.sum + sweep.in_hole;
    drift = 0;
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
      sweep.for_each_run([&, to = d, e = kept](Size begin, Size end, double correction) {
        const T scalar = static_cast<T>(total * correction);
        const Vec<T> factor = broadcast(scalar);
        if constexpr (!kDense && !kKeepsExponentials<S>)
          if (scalar - scalar == 0) // finite, so no NaN in the row: its sum would be NaN
            return map_row<true>(to, begin, end, [&](Size i) { return load(e + i) * factor; });
        map_row(to, begin, end, [&](Size i) { return without_mass(load(e + i) * factor, i); });
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
    const double p = (hole >= 0 ? sweep.in_hole : exp_scalar(u_of_point(k))) / sum,
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

template <class S, class Shift, bool kDense, bool kGradient, bool kKeep>
void all_rows(const CrossEntropyTask<S>& task) {
  for_each_row<CrossEntropyRow<S, Shift, kDense, kGradient, kKeep>>(task);
}

template <class S, class Shift> void by_target(const CrossEntropyTask<S>& task) {
  if (task.dlogits.data)
    has_dense_mass(task) ? all_rows<S, Shift, true, true, true>(task)
                         : all_rows<S, Shift, false, true, true>(task);
  else
    has_dense_mass(task) ? all_rows<S, Shift, true, false, true>(task)
                         : all_rows<S, Shift, false, false, true>(task);
}

template <class S> void cross_entropy(const CrossEntropyTask<S>& task) noexcept {
  using T = Compute<S>;
  if (keeps_exponentials(task) && task.points <= 1)
    return task.scale == 1 ? by_target<S, UnitShift<T>>(task) : by_target<S, ScaledShift<T>>(task);
  task.dlogits.data ? all_rows<S, CappedShift<T>, true, true, false>(task)
                    : all_rows<S, CappedShift<T>, true, false, false>(task);
}

} // namespace

const CrossEntropyKernels<float> cross_entropy_rows_f32 = {cross_entropy<float>};
const CrossEntropyKernels<double> cross_entropy_rows_f64 = {cross_entropy<double>};
const CrossEntropyKernels<Float16> cross_entropy_rows_f16 = {cross_entropy<Float16>};
const CrossEntropyKernels<BFloat16> cross_entropy_rows_bf16 = {cross_entropy<BFloat16>};

} // namespace softstep::KERNEL_ISA
