// One step of stochastic gradient descent, in one pass over parameter, gradient and buffer.
#include "families.hpp"
#include "vector_sweep.hpp"

namespace softstep::KERNEL_ISA {
namespace {

enum class Decay { kNone, kCoupled, kDecoupled };
enum class Buffer { kNone, kFirst, kOld };

template <class T> struct Rates {
  Vec<T> factor, decay, momentum, undamped, minus_lr;

  SOFTSTEP_INLINE explicit Rates(const SgdOptions& o)
      : factor(of(o.gradient_factor)),
        // Decoupled: p - (lr wd) p, for 1 - lr wd would lose the digits of a small lr wd.
        decay(of(o.decoupled != 0 ? -o.decoupled : o.coupled)), momentum(of(o.momentum)),
        undamped(of(1 - o.dampening)), minus_lr(of(-o.lr)) {}

  SOFTSTEP_INLINE static Vec<T> of(double value) { return broadcast(static_cast<T>(value)); }
};

// The order is that of torch.optim.SGD. Options are template arguments because tests of them in the
// loop take as long as the arithmetic while the arrays are cached (0.31 against 0.17 ns an
// element).
template <class T, Decay kDecay, Buffer kBuffer, bool kNesterov>
void sweep(const UpdateTask<T>& task, const SgdOptions& options) {
  const Rates<T> rates(options);
  each_vector<T>(task.size, [&](auto access, Size i) {
    Vec<T> p = access.load_from(task.param + i);
    Vec<T> g = rounded(access.load_from(task.grad + i) * rates.factor);
    if constexpr (kDecay == Decay::kCoupled)
      g = fma(rates.decay, p, g);
    if constexpr (kDecay == Decay::kDecoupled)
      p = fma(rates.decay, p, p);
    if constexpr (kBuffer != Buffer::kNone) {
      Vec<T> b = g;
      if constexpr (kBuffer == Buffer::kOld)
        b = fma(rates.momentum, access.load_from(task.state[0] + i), rounded(rates.undamped * g));
      access.store_to(task.state[0] + i, b);
      g = kNesterov ? fma(rates.momentum, b, g) : b;
    }
    access.store_to(task.param + i, fma(rates.minus_lr, g, p));
  });
}

template <class T, Decay kDecay>
void by_buffer(const UpdateTask<T>& task, const SgdOptions& options) {
  if (!task.state[0])
    sweep<T, kDecay, Buffer::kNone, false>(task, options);
  else if (options.first)
    options.nesterov ? sweep<T, kDecay, Buffer::kFirst, true>(task, options)
                     : sweep<T, kDecay, Buffer::kFirst, false>(task, options);
  else
    options.nesterov ? sweep<T, kDecay, Buffer::kOld, true>(task, options)
                     : sweep<T, kDecay, Buffer::kOld, false>(task, options);
}

template <class T> void step(const UpdateTask<T>& task, const SgdOptions& options) noexcept {
  if (options.decoupled != 0)
    by_buffer<T, Decay::kDecoupled>(task, options);
  else if (options.coupled != 0)
    by_buffer<T, Decay::kCoupled>(task, options);
  else
    by_buffer<T, Decay::kNone>(task, options);
}

template <class T> constexpr SgdKernels<T> kTable = {step<T>};

} // namespace

const SgdKernels<float> sgd_f32 = kTable<float>;
const SgdKernels<double> sgd_f64 = kTable<double>;

} // namespace softstep::KERNEL_ISA
