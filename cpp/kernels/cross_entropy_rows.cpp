// Cross-entropy with its gradient, classes adjacent: two sweeps of the row, one exponential a
// class.
//
// With u = (x - max) / T, s = sum exp(u), a point mass a on the target t and a dense mass q:
//   loss = a (log s - u_t) + (sum q) log s - sum q u + z_loss lse^2
//   dx_c = [(a + sum q + 2 z_loss lse) p_c - a [c = t] - q_c] / T
// For class targets a = (1 - smoothing) w_t and q_c = smoothing w_c / C; for probabilities a = 0
// and q_c = w_c ((1 - smoothing) q_c + smoothing / C).
#include "families.hpp"
#include "row_sweep.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <class T> struct DenseMass {
  const T* probabilities; // null: every class has the mass 0 before smoothing
  const T* weight;
  T keep, spread;

  SOFTSTEP_INLINE Vec<T> operator()(Size c) const {
    Vec<T> q = broadcast(spread);
    if (probabilities)
      q = fma(load(probabilities + c), broadcast(keep), q);
    return weight ? q * load(weight + c) : q;
  }
  SOFTSTEP_INLINE T at(Size c) const {
    const T q = probabilities ? probabilities[c] * keep + spread : spread;
    return weight ? q * weight[c] : q;
  }
};

// sum q and sum q u; the latter relative to the maximum so far, as the row's sum is.
struct DenseSums {
  double mass = 0, moment = 0;

  template <class T, bool kScaled>
  SOFTSTEP_INLINE void add(const T* x, const DenseMass<T>& q, Size begin, Size end, T max,
                           T scale) {
    const Shift<T, kScaled> shift(max, scale);
    mass += static_cast<double>(sum_row<T>(begin, end, [&](Size i) { return q(i); }));
    moment += static_cast<double>(sum_row<T>(begin, end, [&](Size i) {
      const Vec<T> mass_i = q(i);
      return select<T>(mass_i == T(0), Vec<T>{}, mass_i * shift(load(x + i))); // 0 * -inf is 0
    }));
  }
};

// log s and log s - u_t, both accurate when the target's probability is near 1.
struct RowLogs {
  double log_s, nll;
};
SOFTSTEP_INLINE RowLogs row_logs(double others, double target, double u) {
  if (target >= others) {
    const double nll = log1p_scalar(others / target);
    return {nll + u, nll};
  }
  const double log_s = log_scalar(others + target);
  return {log_s, log_s - u};
}

template <class T> SOFTSTEP_INLINE void fill(T* d, Size cols, T value) {
  map_row(d, 0, cols, [&](Size) { return broadcast(value); });
}

template <class T, bool kScaled, bool kDense, bool kGradient>
void cross_entropy_row(const CrossEntropyTask<T>& task, Size row) {
  const T* x = task.logits.data + row * task.logits.stride;
  T* d = kGradient ? task.dlogits.data + row * task.dlogits.stride : nullptr;
  const T* probabilities =
      task.probabilities.data ? task.probabilities.data + row * task.probabilities.stride : nullptr;
  if (task.target && task.target[row] == kIgnoredRow) {
    task.loss[row] = 0;
    if constexpr (kGradient)
      fill(d, task.cols, T(0));
    return;
  }
  const Size t = probabilities ? -1 : task.target[row];
  const double point = t < 0 ? 0
                             : (1 - static_cast<double>(task.label_smoothing)) *
                                   static_cast<double>(task.weight ? task.weight[t] : T(1));
  const T x_t = t < 0 ? T(0) : x[t]; // before it is overwritten
  const DenseMass<T> q{probabilities, task.weight, T(1) - task.label_smoothing,
                       task.label_smoothing / static_cast<T>(task.cols)};
  DenseSums dense;
  T reference = -kInfinity<T>;
  RowSweep<T, kGradient, kScaled> sweep(task.cols, task.scale);
  sweep.run(d, x, t, [&](Size begin, Size end, T max) {
    if constexpr (kDense) {
      if (max > reference && dense.mass != 0 && reference != -kInfinity<T>)
        dense.moment += (static_cast<double>(reference) - static_cast<double>(max)) *
                        static_cast<double>(task.scale) * dense.mass;
      reference = max;
      dense.template add<T, kScaled>(x, q, begin, end, max, task.scale);
    }
  });

  const double scale = static_cast<double>(task.scale), others = sweep.sum;
  const double u = t < 0 ? 0 : (static_cast<double>(x_t) - static_cast<double>(sweep.max)) * scale;
  const double e_t = t < 0 ? 0 : exp_scalar(u);
  const double sum = others + e_t;
  RowLogs logs = row_logs(others, e_t, u);
  if (sweep.infinite && !sweep.nan)
    logs = {0, -u};
  else if (!(sum > 0)) // all classes -inf, or a NaN
    logs.log_s = logs.nll = sum / sum;
  const double lse = static_cast<double>(sweep.max) * scale + logs.log_s;
  const double z = static_cast<double>(task.z_loss);
  const double row_weight = task.row_weight ? static_cast<double>(task.row_weight[row]) : 1;
  double loss = -dense.moment;
  if (dense.mass != 0) // a row without mass has no loss, also where log s is undefined
    loss += dense.mass * logs.log_s;
  if (t >= 0)
    loss += point * logs.nll;
  if (z != 0)
    loss += z * lse * lse;
  task.loss[row] = static_cast<T>(loss * row_weight);

  if constexpr (kGradient) {
    const double g = static_cast<double>(task.upstream) * row_weight * scale;
    const double spread = dense.mass + (z != 0 ? 2 * z * lse : 0);
    const Vec<T> g_lanes = broadcast(static_cast<T>(g));
    sweep.for_each_run([&](Size begin, Size end, double correction) {
      const Vec<T> factor = broadcast(static_cast<T>(g * (point + spread) * correction / sum));
      map_row(d, begin, end, [&](Size i) {
        const Vec<T> p = load(d + i) * factor;
        return kDense ? p - g_lanes * q(i) : p;
      });
    });
    if (t >= 0) // 1 - p_t from the other classes: no cancellation
      d[t] = static_cast<T>(g * (spread * (e_t / sum) - point * (others / sum) -
                                 (kDense ? static_cast<double>(q.at(t)) : 0)));
  }
}

template <class T, bool kScaled, bool kDense, bool kGradient>
void all_rows(const CrossEntropyTask<T>& task) {
  for (Size row = 0; row < task.rows; ++row)
    cross_entropy_row<T, kScaled, kDense, kGradient>(task, row);
}

template <class T, bool kScaled> void by_target(const CrossEntropyTask<T>& task) {
  const bool dense = task.probabilities.data || task.label_smoothing != 0;
  if (task.dlogits.data)
    dense ? all_rows<T, kScaled, true, true>(task) : all_rows<T, kScaled, false, true>(task);
  else
    dense ? all_rows<T, kScaled, true, false>(task) : all_rows<T, kScaled, false, false>(task);
}

template <class T> void cross_entropy(const CrossEntropyTask<T>& task) noexcept {
  task.scale == T(1) ? by_target<T, false>(task) : by_target<T, true>(task);
}

} // namespace

const CrossEntropyKernels<float> cross_entropy_rows_f32 = {cross_entropy<float>};
const CrossEntropyKernels<double> cross_entropy_rows_f64 = {cross_entropy<double>};

} // namespace softstep::KERNEL_ISA
