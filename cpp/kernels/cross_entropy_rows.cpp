// Cross-entropy with its gradient, classes adjacent (kRowShape), and of segments of the classes.
#include "cross_entropy_row.hpp"
#include "families.hpp"
#include "row_groups.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <class S, class Shift, bool kDense> using Kept = CrossEntropyRow<S, Shift, kDense, true>;
template <class S, class Shift> using Remade = CrossEntropyRow<S, Shift, true, false>;

// The exponentials are kept, for a gradient. Class targets at a temperature of 1 have an instance
// of their own where the multiplication that it saves was measured: each takes seconds to compile.
template <class S> void kept(const CrossEntropyTask<S>& task) {
  using T = Compute<S>;
  if constexpr (kKeepsExponentials<S>)
    if (task.scale == 1 && !has_dense_mass(task))
      return for_each_row<Kept<S, UnitShift<T>, false>>(task);
  for_each_row<Kept<S, ScaledShift<T>, true>>(task);
}

template <class S> void cross_entropy(const CrossEntropyTask<S>& task) noexcept {
  using T = Compute<S>;
  if (takes_groups(task) && task.cols <= kGroupedClasses<T>)
    return cross_entropy_groups(task);
  if (task.dlogits.data && keeps_exponentials(task) && task.points <= 1)
    return kept(task);
  task.options.softcap == 0 ? for_each_row<Remade<S, ScaledShift<T>>>(task)
                            : for_each_row<Remade<S, CappedShift<T>>>(task);
}

// Segments make their exponentials again: all rows are swept before the first is finished, and to
// keep them would take more memory traffic than that.
template <class S, class Shift> void sweep_segments(const CrossEntropyTask<S>& task) {
  for (Size row = 0; row < task.rows; ++row) {
    Remade<S, Shift> segment(task, row);
    segment.start();
    segment.run();
    task.sums[row] = segment.of_segment();
  }
}
template <class S, class Shift> void finish_segments(const CrossEntropyTask<S>& task) {
  for (Size row = 0; row < task.rows; ++row)
    Remade<S, Shift>(task, row).finish(task.sums[row]);
}

template <class S> void sweep(const CrossEntropyTask<S>& task) noexcept {
  using T = Compute<S>;
  task.options.softcap == 0 ? sweep_segments<S, ScaledShift<T>>(task)
                            : sweep_segments<S, CappedShift<T>>(task);
}
template <class S> void finish(const CrossEntropyTask<S>& task) noexcept {
  using T = Compute<S>;
  task.options.softcap == 0 ? finish_segments<S, ScaledShift<T>>(task)
                            : finish_segments<S, CappedShift<T>>(task);
}

// Measured: docs/design/0014-row-groups.md. At least the lanes of a vector, less one.
template <class S> Size lane_classes(const CrossEntropyTask<S>& task) noexcept {
  constexpr bool kWide = kVectorBytes == 64;
  if (!takes_groups(task))
    return 64;
  return kKeepsExponentials<S> ? (kWide ? 32 : 28) : (kWide ? 24 : 21);
}

template <class S>
constexpr CrossEntropyKernels<S> kTable = {cross_entropy<S>, sweep<S>, finish<S>, lane_classes<S>};

} // namespace

const CrossEntropyKernels<float> cross_entropy_rows_f32 = kTable<float>;
const CrossEntropyKernels<double> cross_entropy_rows_f64 = kTable<double>;
const CrossEntropyKernels<Float16> cross_entropy_rows_f16 = kTable<Float16>;
const CrossEntropyKernels<BFloat16> cross_entropy_rows_bf16 = kTable<BFloat16>;

} // namespace softstep::KERNEL_ISA
