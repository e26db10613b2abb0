// Softmax family, classes adjacent (kRowShape): lanes run along the classes of one row.
#include "families.hpp"
#include "row_sweep.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <class T, bool kScaled> void softmax_rows(const SoftmaxTask<T>& task) {
  for (Size row = 0; row < task.rows; ++row) {
    const T* x = task.x.data + row * task.x.stride;
    T* y = task.y.data + row * task.y.stride;
    RowSweep<T, true, kScaled> sweep(task.cols, task.scale);
    sweep.run(y, x, -1, NoBefore{});
    sweep.for_each_run([&](Size begin, Size end, double correction) {
      const Vec<T> factor = broadcast(static_cast<T>(correction / sweep.sum));
      map_row(y, begin, end, [&](Size i) { return load(y + i) * factor; });
    });
  }
}

template <class T, bool kScaled> void log_softmax_rows(const SoftmaxTask<T>& task) {
  for (Size row = 0; row < task.rows; ++row) {
    const T* x = task.x.data + row * task.x.stride;
    T* y = task.y.data + row * task.y.stride;
    RowSweep<T, false, kScaled> sweep(task.cols, task.scale);
    sweep.run(y, x, -1, NoBefore{});
    const Vec<T> max = broadcast(sweep.max), scale = broadcast(task.scale);
    const Vec<T> log_s = broadcast(static_cast<T>(sweep.log_sum()));
    // In this order: max + log sum first would lose the bits of large logits.
    map_row(y, 0, task.cols, [&](Size i) { return (load(x + i) - max) * scale - log_s; });
  }
}

// log of the row's sum. Next to 1 the lanes' rounding would be all of it: then the sum is made
// again without its largest class, whose exponential is exactly 1.
template <class T, bool kScaled>
double precise_log_sum(const RowSweep<T, false, kScaled>& sweep, const T* x, Size cols) {
  const double top = static_cast<double>(sweep.max) * static_cast<double>(sweep.scale);
  if (!(sweep.sum < 1.5 && -1 < top && top < 1))
    return sweep.log_sum();
  Size largest = 0;
  while (x[largest] != sweep.max)
    ++largest;
  RowSweep<T, false, kScaled> others(cols, sweep.scale);
  others.run(nullptr, x, largest, NoBefore{});
  return log1p_scalar(others.sum);
}

template <class T, bool kScaled> void logsumexp_rows(const SoftmaxTask<T>& task) {
  for (Size row = 0; row < task.rows; ++row) {
    const T* x = task.x.data + row * task.x.stride;
    RowSweep<T, false, kScaled> sweep(task.cols, task.scale);
    sweep.run(nullptr, x, -1, NoBefore{});
    const double max = static_cast<double>(sweep.max) * static_cast<double>(task.scale);
    const bool masked = sweep.max == -kInfinity<T> && sweep.sum == 0;
    task.row_result[row] =
        static_cast<T>(masked ? max : max + precise_log_sum(sweep, x, task.cols));
  }
}

// H = log s - (sum of e u) / s with u = (x - max) * scale, e = exp(u), s = sum of e; 0 * -inf is 0.
template <class T, bool kScaled> void entropy_rows(const SoftmaxTask<T>& task) {
  for (Size row = 0; row < task.rows; ++row) {
    const T* x = task.x.data + row * task.x.stride;
    RowSweep<T, false, kScaled> sweep(task.cols, task.scale);
    double moment = 0; // of the blocks so far, relative to `reference`
    T reference = -kInfinity<T>;
    sweep.run(nullptr, x, -1, [&](Size begin, Size end, T max) {
      // sweep.sum is still that of the blocks before, but already relative to max.
      if (max > reference && reference != -kInfinity<T>) {
        const double f = sweep.factor(reference, max);
        const double shift_down = (static_cast<double>(reference) - static_cast<double>(max)) *
                                  static_cast<double>(task.scale);
        moment = f == 0 ? 0 : f * moment + shift_down * sweep.sum; // 0 * -inf is 0
      }
      reference = max;
      const Shift<T, kScaled> shift(max, task.scale);
      moment += static_cast<double>(sum_row<T>(begin, end, [&](Size i) {
        const Vec<T> u = shift(load(x + i)), e = exp<T>(u);
        return select<T>(e == T(0), Vec<T>{}, e * u);
      }));
    });
    const double entropy = log_scalar(sweep.sum) - moment / sweep.sum;
    task.row_result[row] = static_cast<T>(sweep.sum > 0 ? entropy : sweep.sum / sweep.sum);
  }
}

// dx = y (dy - sum(dy y)) scale
template <class T> void softmax_backward_rows(const SoftmaxTask<T>& task) {
  for (Size row = 0; row < task.rows; ++row) {
    const T* y = task.x.data + row * task.x.stride;
    const T* dy = task.dy.data + row * task.dy.stride;
    T* dx = task.y.data + row * task.y.stride;
    const RowBlocks blocks = cut_row(task.cols);
    double dot = 0;
    for (Size b = 0; b < blocks.count; ++b)
      dot += static_cast<double>(sum_row<T>(blocks.begin(b), blocks.end(b),
                                            [&](Size i) { return load(dy + i) * load(y + i); }));
    const Vec<T> mean = broadcast(static_cast<T>(dot)), scale = broadcast(task.scale);
    map_row(dx, 0, task.cols, [&](Size i) { return load(y + i) * (load(dy + i) - mean) * scale; });
  }
}

// dx = (dy - exp(y) sum(dy)) scale
template <class T> void log_softmax_backward_rows(const SoftmaxTask<T>& task) {
  for (Size row = 0; row < task.rows; ++row) {
    const T* y = task.x.data + row * task.x.stride;
    const T* dy = task.dy.data + row * task.dy.stride;
    T* dx = task.y.data + row * task.y.stride;
    const RowBlocks blocks = cut_row(task.cols);
    double total = 0;
    for (Size b = 0; b < blocks.count; ++b)
      total += static_cast<double>(
          sum_row<T>(blocks.begin(b), blocks.end(b), [&](Size i) { return load(dy + i); }));
    const Vec<T> sum = broadcast(static_cast<T>(total)), scale = broadcast(task.scale);
    map_row(dx, 0, task.cols,
            [&](Size i) { return (load(dy + i) - exp<T>(load(y + i)) * sum) * scale; });
  }
}

template <class T, void (*kUnit)(const SoftmaxTask<T>&), void (*kScaled)(const SoftmaxTask<T>&)>
void by_scale(const SoftmaxTask<T>& task) noexcept {
  task.scale == T(1) ? kUnit(task) : kScaled(task);
}
template <class T, void (*kKernel)(const SoftmaxTask<T>&)>
void always(const SoftmaxTask<T>& task) noexcept {
  kKernel(task);
}

template <class T>
constexpr SoftmaxKernels<T> kTable = {
    by_scale<T, softmax_rows<T, false>, softmax_rows<T, true>>,
    by_scale<T, log_softmax_rows<T, false>, log_softmax_rows<T, true>>,
    by_scale<T, logsumexp_rows<T, false>, logsumexp_rows<T, true>>,
    by_scale<T, entropy_rows<T, false>, entropy_rows<T, true>>,
    always<T, softmax_backward_rows<T>>,
    always<T, log_softmax_backward_rows<T>>};

} // namespace

const SoftmaxKernels<float> softmax_rows_f32 = kTable<float>;
const SoftmaxKernels<double> softmax_rows_f64 = kTable<double>;

} // namespace softstep::KERNEL_ISA
