// Cross-entropy with its gradient, classes adjacent (kRowShape), and of segments of the classes.
#include "cross_entropy_row.hpp"
#include "families.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <class S, class Shift, bool kDense> using Kept = CrossEntropyRow<S, Shift, kDense, true>;
template <class S, class Shift> using Remade = CrossEntropyRow<S, Shift, true, false>;

// The exponentials are kept, for a gradient.
template <class S, class Shift> void kept(const CrossEntropyTask<S>& task) {
  has_dense_mass(task) ? for_each_row<Kept<S, Shift, true>>(task)
                       : for_each_row<Kept<S, Shift, false>>(task);
}

template <class S> void cross_entropy(const CrossEntropyTask<S>& task) noexcept {
  using Unit = UnitShift<Compute<S>>;
  using Scaled = ScaledShift<Compute<S>>;
  if (task.dlogits.data && keeps_exponentials(task) && task.points <= 1)
    return task.scale == 1 ? kept<S, Unit>(task) : kept<S, Scaled>(task);
  if (task.options.softcap != 0)
    return for_each_row<Remade<S, CappedShift<Compute<S>>>>(task);
  task.scale == 1 ? for_each_row<Remade<S, Unit>>(task) : for_each_row<Remade<S, Scaled>>(task);
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

template <class S>
constexpr CrossEntropyKernels<S> kTable = {cross_entropy<S>, sweep<S>, finish<S>};

} // namespace

const CrossEntropyKernels<float> cross_entropy_rows_f32 = kTable<float>;
const CrossEntropyKernels<double> cross_entropy_rows_f64 = kTable<double>;
const CrossEntropyKernels<Float16> cross_entropy_rows_f16 = kTable<Float16>;
const CrossEntropyKernels<BFloat16> cross_entropy_rows_bf16 = kTable<BFloat16>;

} // namespace softstep::KERNEL_ISA
