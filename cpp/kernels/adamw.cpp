// One step of Adam with decay of either kind, in one pass over parameter, gradient and moments.
#include "families.hpp"
#include "sqrt.hpp"
#include "vector_sweep.hpp"

namespace softstep::KERNEL_ISA {
namespace {

enum class Decay { kNone, kCoupled, kDecoupled };

template <class T> struct Rates {
  Vec<T> factor, decay, rest1, beta2, rest2, minus_step, eps;

  SOFTSTEP_INLINE explicit Rates(const AdamwOptions& o)
      : factor(of(o.gradient_factor)), decay(of(o.decoupled != 0 ? -o.decoupled : o.coupled)),
        rest1(of(1 - o.beta1)), beta2(of(o.beta2)), rest2(of(1 - o.beta2)),
        minus_step(of(-o.step_size)), eps(of(o.eps)) {}

  SOFTSTEP_INLINE static Vec<T> of(double value) { return broadcast(static_cast<T>(value)); }
};

// As torch.maximum: a NaN of either stays.
template <class T> SOFTSTEP_INLINE Vec<T> largest_of(Vec<T> old, Vec<T> now) {
  return select<T>(old != old, old, max(old, now));
}

// One division and one root: the bias corrections are in step_size and eps.
template <class T, Decay kDecay, bool kAmsgrad>
void sweep(const UpdateTask<T>& task, const AdamwOptions& options) {
  const Rates<T> rates(options);
  each_vector<T>(task.size, [&](auto access, Size i) {
    Vec<T> p = access.load_from(task.param + i);
    Vec<T> g = rounded(access.load_from(task.grad + i) * rates.factor);
    if constexpr (kDecay == Decay::kCoupled)
      g = fma(rates.decay, p, g);
    if constexpr (kDecay == Decay::kDecoupled)
      p = fma(rates.decay, p, p);
    Vec<T> m = access.load_from(task.state[0] + i), v = access.load_from(task.state[1] + i);
    m = fma(rates.rest1, g - m, m);
    v = fma(rates.rest2 * g, g, rounded(rates.beta2 * v));
    access.store_to(task.state[0] + i, m);
    access.store_to(task.state[1] + i, v);
    if constexpr (kAmsgrad) {
      v = largest_of<T>(access.load_from(task.state[2] + i), v);
      access.store_to(task.state[2] + i, v);
    }
    access.store_to(task.param + i, fma(rates.minus_step, m / (sqrt(v) + rates.eps), p));
  });
}

template <class T, Decay kDecay>
void by_states(const UpdateTask<T>& task, const AdamwOptions& options) {
  task.state[2] ? sweep<T, kDecay, true>(task, options) : sweep<T, kDecay, false>(task, options);
}

template <class T> void step(const UpdateTask<T>& task, const AdamwOptions& options) noexcept {
  if (options.decoupled != 0)
    by_states<T, Decay::kDecoupled>(task, options);
  else if (options.coupled != 0)
    by_states<T, Decay::kCoupled>(task, options);
  else
    by_states<T, Decay::kNone>(task, options);
}

template <class T> constexpr AdamwKernels<T> kTable = {step<T>};

} // namespace

const AdamwKernels<float> adamw_f32 = kTable<float>;
const AdamwKernels<double> adamw_f64 = kTable<double>;

} // namespace softstep::KERNEL_ISA
