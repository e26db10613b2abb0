// The memory roofline: what the simplest loops over the same arrays take.
#include "families.hpp"
#include "vector_sweep.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <class T, class Access> SOFTSTEP_INLINE Vec<T> load_ahead(Access access, const T* from) {
  constexpr Size kAhead = 2048;
  prefetch<kVectorBytes>(reinterpret_cast<const char*>(from) + kAhead);
  return access.load_from(from);
}

template <class T> double read(const T* x, Size size) noexcept {
  Vec<T> sum[kUnroll] = {};
  sweep_vectors<T>(size, [&](auto access, Size i, Size k) { sum[k] += load_ahead(access, x + i); });
  return static_cast<double>(reduce<T>((sum[0] + sum[1]) + (sum[2] + sum[3])));
}

template <class T> void scale(T* x, Size size, T factor) noexcept {
  sweep_vectors<T>(size, [&](auto access, Size i, Size) {
    access.store_to(x + i, load_ahead(access, x + i) * factor);
  });
}

template <class T> void copy(T* to, const T* from, Size size) noexcept {
  sweep_vectors<T>(size, [&](auto access, Size i, Size) {
    access.store_to(to + i, load_ahead(access, from + i));
  });
}

// The traffic of an SGD step with momentum, with as little arithmetic as touches everything.
template <class T> void update(T* a, T* b, const T* c, Size size) noexcept {
  sweep_vectors<T>(size, [&](auto access, Size i, Size) {
    const Vec<T> sum = load_ahead(access, b + i) + load_ahead(access, c + i);
    access.store_to(b + i, sum);
    access.store_to(a + i, load_ahead(access, a + i) - sum);
  });
}

template <class T> constexpr StreamKernels<T> kTable = {read<T>, scale<T>, copy<T>, update<T>};

} // namespace

const StreamKernels<float> stream_f32 = kTable<float>;
const StreamKernels<double> stream_f64 = kTable<double>;

} // namespace softstep::KERNEL_ISA
