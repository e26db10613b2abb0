// What the sums of a row make: its loss and the other results of the row, and the masses that its
// gradient needs.
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

template <class S, bool kDense> struct RowLoss {
  using T = Compute<S>;
  const CrossEntropyTask<S>& task;
  const RowTarget<S> target;
  const double scale;
  RowSums sums;

  bool at_infinity; // +inf and no NaN: the probabilities of the others are 0
  double sum, log_s, nll, lse;
  double mass, moment;  // of the dense mass: probabilities and smoothing
  double spread, drift; // smoothing per class; 2 z_loss lse
  double pull_mass;     // of the points in the gradient: sums.point_mass, unless there is a gamma

  RowLoss(const CrossEntropyTask<S>& task_, Size row)
      : task(task_), target(task_, row), scale(static_cast<double>(task_.scale)) {}

  SOFTSTEP_INLINE bool single() const { return target.points == 1; }

  double u_of(double capped, double max) const {
    return (capped - (max == -kInfinity<double> ? 0 : max)) * scale;
  }

  // What the results and the gradient need of the sums.
  SOFTSTEP_INLINE void sum_up() {
    sum = sums.others + sums.in_target + sums.in_top;
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

  [[gnu::noinline]] void take_logs() {
    const double u = single() ? u_of(sums.target_logit, sums.max) : 0;
    if (at_infinity) {
      log_s = 0;
      nll = -u;
    } else if (!(sum > 0)) { // all classes -inf, or a NaN
      log_s = nll = sum / sum;
    } else if (sums.in_top == 1 && sums.others <= 1) { // near certainty it must not hide the others
      log_s = nll = log1p_scalar(sums.others);
    } else if (sums.in_target >= sums.others) { // nor must the target
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
  [[gnu::noinline]] void focus() {
    const double gamma = static_cast<double>(task.options.gamma);
    const double rest = at_infinity ? 1 : sums.others / sum,
                 p = at_infinity ? 0 : sums.in_target / sum;
    const double factor = rest == 0 ? 0 : exp_scalar(gamma * log_scalar(rest));
    const double per_rest = rest == 0 ? 1 : nll / rest; // of log(1 + rest / p) / rest
    sums.point_mass *= factor;
    pull_mass = p == 0 ? sums.point_mass : sums.point_mass * (1 + gamma * p * per_rest);
  }

  SOFTSTEP_INLINE void write_results(const RowGathered<S>& gathered) const {
    // A part without mass has no loss, also where log s is undefined.
    double loss = (mass != 0 ? mass * log_s : 0) - moment;
    if (sums.point_mass != 0)
      loss += sums.point_mass * (single() ? nll : log_s) - (single() ? 0 : sums.point_moment);
    if (drift != 0)
      loss += drift * lse / 2;
    set(task.loss, loss * row_weight());
    set(task.lse, lse);
    set(task.nll, single() ? nll : 0);
    if (task.argmax)
      task.argmax[target.row] = gathered.argmax;
    if (task.entropy || task.dtemperature)
      write_expectations(gathered.expectation / sum);
  }
  [[gnu::noinline]] void write_nothing() const {
    T* const results[] = {task.loss, task.lse, task.nll, task.entropy, task.dtemperature};
    for (T* result : results)
      set(result, 0);
    if (task.argmax)
      task.argmax[target.row] = kIgnoredRow;
  }

  double row_weight() const {
    return task.row_weight ? static_cast<double>(task.row_weight[target.row]) : 1;
  }

private:
  [[gnu::noinline]] void write_expectations(double of_u) const {
    set(task.entropy, sum > 0 ? log_s - of_u : sum / sum);
    const double pull = (mass + pull_mass + drift) * of_u - moment - point_moment();
    const double drift_pull = drift != 0 ? sums.max * scale * drift : 0;
    set(task.dtemperature, -row_weight() * scale * (pull + drift_pull));
  }

  double point_moment() const {
    if (!single())
      return sums.point_moment;
    return pull_mass != 0 ? pull_mass * u_of(sums.target_logit, sums.max) : 0;
  }

  void set(T* results, double value) const {
    if (results)
      results[target.row] = static_cast<T>(value);
  }
};

} // namespace
} // namespace softstep::KERNEL_ISA
