// Panels of a matrix product: rows widened to what they are computed in, and rows added.
#include "families.hpp"
#include "storage.hpp"
#include "vector_sweep.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <class S> SOFTSTEP_INLINE Vec<Compute<S>> widened(WholeVector<Compute<S>>, const S* from) {
  return load(from);
}
template <class S>
SOFTSTEP_INLINE Vec<Compute<S>> widened(PartOfVector<Compute<S>> part, const S* from) {
  if constexpr (sizeof(S) == sizeof(Compute<S>))
    return part.load_from(from);
  else
    return partial_load(from, part.n);
}

template <class S> void copy(Compute<S>* to, const S* from, Size size) noexcept {
  sweep_vectors<Compute<S>>(size, [&](auto access, Size i, Size) {
    access.store_to(to + i, widened<S>(access, from + i));
  });
}

template <class S> void add(Compute<S>* to, const S* from, Size size) noexcept {
  constexpr Size kAhead = 2048; // bytes; `to` comes from memory, `from` from a cache
  sweep_vectors<Compute<S>>(size, [&](auto access, Size i, Size) {
    prefetch<kVectorBytes>(reinterpret_cast<const char*>(to + i) + kAhead);
    access.store_to(to + i, access.load_from(to + i) + widened<S>(access, from + i));
  });
}

template <class S> constexpr PanelKernels<S> kTable = {copy<S>, add<S>};

} // namespace

const PanelKernels<float> panel_f32 = kTable<float>;
const PanelKernels<double> panel_f64 = kTable<double>;
const PanelKernels<Float16> panel_f16 = kTable<Float16>;
const PanelKernels<BFloat16> panel_bf16 = kTable<BFloat16>;

} // namespace softstep::KERNEL_ISA
