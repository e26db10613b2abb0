// Softmax family, classes adjacent (kRowShape): lanes run along the classes of one row.
#include "complement.hpp"
#include "families.hpp"
#include "row_groups.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <class S, class Shift, bool kStore> struct SoftmaxRow {
  using T = Compute<S>;
  const SoftmaxTask<S>& task;
  const S* const x;
  S* const y;
  T* e = nullptr; // if kStore
  RowSweep<S, Shift, kStore> sweep;

  SoftmaxRow(const SoftmaxTask<S>& t, Size row)
      : task(t), x(t.x.data + row * t.x.stride),
        y(t.y.data ? t.y.data + row * t.y.stride : nullptr), sweep(t.cols, {t.scale}) {}
  SOFTSTEP_INLINE void start() { sweep.start(x); }
  [[gnu::noinline]] void run() { sweep.run(e, x, -1, NoBefore{}); }
};

// The exponentials are kept in y, in half precision in the scratch.
template <class S, class Shift> struct ProbabilityRow : SoftmaxRow<S, Shift, true> {
  using Base = SoftmaxRow<S, Shift, true>;
  using Base::sweep, Base::y;
  using typename Base::T;

  ProbabilityRow(const SoftmaxTask<S>& t, Size row) : Base(t, row) {
    if constexpr (kKeepsExponentials<S>)
      this->e = y;
    else
      this->e = t.scratch + (pairs_rows<T>(t.cols) ? row % 2 * t.cols : 0);
  }
  [[gnu::noinline]] void finish() {
    sweep.for_each_run([&, from = this->e, to = y](Size begin, Size end, double correction) {
      const Vec<T> factor = broadcast(static_cast<T>(correction / sweep.sum));
      map_row(to, begin, end, [&](Size i) { return load(from + i) * factor; });
    });
  }
};

// log of the row's sum. Next to 1 the lanes' rounding would be all of it.
template <class S, class Shift>
double precise_log_sum(const RowSweep<S, Shift, false>& sweep, const S* x) {
  if (!sweep.is_certain())
    return sweep.log_sum();
  return log1p_scalar(sweep.sum_without(sweep.top_class(nullptr, x), nullptr, x));
}

template <class S, class Shift> struct LogProbabilityRow : SoftmaxRow<S, Shift, false> {
  using Base = SoftmaxRow<S, Shift, false>;
  using Base::Base, Base::sweep, Base::x, Base::y;
  using typename Base::T;

  [[gnu::noinline]] void finish() {
    const Vec<T> max = broadcast(sweep.max), scale = broadcast(sweep.scale.scale);
    const Vec<T> log_s = broadcast(static_cast<T>(precise_log_sum(sweep, x)));
    // In this order: max + log sum first would lose the bits of large logits.
    map_row(y, 0, this->task.cols, [&](Size i) { return (load(x + i) - max) * scale - log_s; });
  }
};

template <class S, class Shift> struct LogSumRow : SoftmaxRow<S, Shift, false> {
  using Base = SoftmaxRow<S, Shift, false>;
  using Base::sweep, Base::x;
  using typename Base::T;
  T* const result;

  LogSumRow(const SoftmaxTask<S>& t, Size row) : Base(t, row), result(t.row_result + row) {}
  [[gnu::noinline]] void finish() {
    const double max = static_cast<double>(sweep.max) * static_cast<double>(sweep.scale.scale);
    const bool masked = sweep.max == -kInfinity<T> && sweep.sum == 0;
    // Far from 0 the digits of the logarithm are not seen.
    const bool near = -1 < max && max < 1;
    *result =
        static_cast<T>(masked ? max : max + (near ? precise_log_sum(sweep, x) : sweep.log_sum()));
  }
};

// A temperature of 1 saves a multiplication, but for half precision, which waits for conversions.
template <template <class, class> class Row, class S>
void by_scale(const SoftmaxTask<S>& task) noexcept {
  using T = Compute<S>;
  if constexpr (kKeepsExponentials<S>)
    if (task.scale == 1)
      return for_each_row<Row<S, UnitShift<T>>>(task);
  for_each_row<Row<S, ScaledShift<T>>>(task);
}

template <class S> void softmax_rows(const SoftmaxTask<S>& task) noexcept {
  if (task.cols <= kGroupedClasses<Compute<S>>)
    return softmax_groups(task);
  by_scale<ProbabilityRow>(task);
}

// H = log s - (sum of e u) / s with u = (x - max) * scale, e = exp(u), s = sum of e; 0 * -inf is 0.
template <class S> void entropy_rows(const SoftmaxTask<S>& task) noexcept {
  using T = Compute<S>;
  using Shift = ScaledShift<T>;
  for (Size row = 0; row < task.rows; ++row) {
    const S* x = task.x.data + row * task.x.stride;
    RowSweep<S, Shift, false> sweep(task.cols, {task.scale});
    double moment = 0; // of the blocks so far, relative to `reference`
    T reference = -kInfinity<T>;
    sweep.start(x);
    sweep.run(nullptr, x, -1, [&](Size begin, Size end, T max) {
      // sweep.sum is still that of the blocks before, but already relative to max.
      if (max > reference && reference != -kInfinity<T>) {
        const double f = sweep.factor(reference, max);
        const double shift_down = (static_cast<double>(reference) - static_cast<double>(max)) *
                                  static_cast<double>(task.scale);
        moment = f == 0 ? 0 : f * moment + shift_down * sweep.sum; // 0 * -inf is 0
      }
      reference = max;
      const Shift shift(max, {task.scale});
      moment += static_cast<double>(sum_row<T, Body::kLong>(begin, end, [&](Size i) {
        const Vec<T> u = shift(load(x + i)), e = exp<T>(u);
        return select<T>(e == T(0), Vec<T>{}, e * u);
      }));
    });
    const double entropy = precise_log_sum(sweep, x) - moment / sweep.sum;
    task.row_result[row] = static_cast<T>(sweep.sum > 0 ? entropy : sweep.sum / sweep.sum);
  }
}

// The gradient at the one class that has nearly all of the probability, from the others: -1 if
// there is none.
struct TopClass {
  Size at = -1;
  double dx = 0;
};

template <class S> Compute<S> largest(const S* y, const RowBlocks& blocks) {
  Compute<S> top = -kInfinity<Compute<S>>;
  for (Size b = 0; b < blocks.count; ++b) {
    const Compute<S> in_block = max_row(y, blocks.begin(b), blocks.end(b));
    top = in_block > top ? in_block : top;
  }
  return top;
}

// The sum of f over the classes but one.
template <class T, class F> double sum_of_others(const RowBlocks& blocks, Size top, F f) {
  double sum = 0;
  for (Size b = 0; b < blocks.count; ++b)
    sum += static_cast<double>(sum_row<T, Body::kLong>(blocks.begin(b), blocks.end(b), [&](Size i) {
      return select<T>(without_hole<T>(top, i), f(i), Vec<T>{});
    }));
  return sum;
}

template <class S>
[[gnu::noinline]] TopClass likely_class(const S* y, const S* dy, const RowBlocks& blocks,
                                        Compute<S> rounding) {
  using T = Compute<S>;
  const T top = largest(y, blocks);
  const Size at = index_of(top, y, 0, blocks.cols);
  const double others = sum_of_others<T>(blocks, at, [&](Size i) { return load(y + i); });
  const double products =
      sum_of_others<T>(blocks, at, [&](Size i) { return load(dy + i) * load(y + i); });
  const auto p = static_cast<double>(top);
  const double rest = complement<double>(broadcast(p), broadcast(others), rounding)[0];
  return {at, p * (static_cast<double>(static_cast<T>(get(dy + at))) * rest - products)};
}

// dx = y (dy - sum(dy y)) scale
template <class S> void softmax_backward_rows(const SoftmaxTask<S>& task) noexcept {
  using T = Compute<S>;
  for (Size row = 0; row < task.rows; ++row) {
    const S* y = task.x.data + row * task.x.stride;
    const S* dy = task.dy.data + row * task.dy.stride;
    S* dx = task.y.data + row * task.y.stride;
    const RowBlocks blocks = cut_row(task.cols);
    double dot = 0;
    Mask<T> likely{};
    for (Size b = 0; b < blocks.count; ++b)
      dot += static_cast<double>(sum_row<T>(blocks.begin(b), blocks.end(b), [&](Size i) {
        const Vec<T> p = load(y + i);
        likely |= has_nearly_all<T>(p);
        return load(dy + i) * p;
      }));
    TopClass top; // before dx overwrites them
    if (any<T>(likely))
      top = likely_class(y, dy, blocks, task.rounding);
    const Vec<T> mean = broadcast(static_cast<T>(dot)), scale = broadcast(task.scale);
    map_row(dx, 0, task.cols, [&](Size i) { return load(y + i) * (load(dy + i) - mean) * scale; });
    if (top.at >= 0)
      put(dx + top.at, top.dx * static_cast<double>(task.scale));
  }
}

template <class S> TopClass certain_class(const S* y, const S* dy, const RowBlocks& blocks) {
  using T = Compute<S>;
  const T top = largest(y, blocks);
  if (!any<T>(is_nearly_certain<T>(broadcast(top))))
    return {};
  const Size at = index_of(top, y, 0, blocks.cols);
  const double others = sum_of_others<T>(blocks, at, [&](Size i) { return load(dy + i); });
  const Vec<double> log_p = broadcast(static_cast<double>(top)), p = exp<double>(log_p);
  return {at,
          static_cast<double>(static_cast<T>(get(dy + at))) * one_minus_exp<double>(log_p, p)[0] -
              p[0] * others};
}

// dx = (dy - exp(y) sum(dy)) scale
template <class S> void log_softmax_backward_rows(const SoftmaxTask<S>& task) noexcept {
  using T = Compute<S>;
  for (Size row = 0; row < task.rows; ++row) {
    const S* y = task.x.data + row * task.x.stride;
    const S* dy = task.dy.data + row * task.dy.stride;
    S* dx = task.y.data + row * task.y.stride;
    const RowBlocks blocks = cut_row(task.cols);
    double total = 0;
    for (Size b = 0; b < blocks.count; ++b)
      total += static_cast<double>(
          sum_row<T>(blocks.begin(b), blocks.end(b), [&](Size i) { return load(dy + i); }));
    const TopClass top = certain_class(y, dy, blocks); // before dx overwrites them
    const Vec<T> sum = broadcast(static_cast<T>(total)), scale = broadcast(task.scale);
    map_row(dx, 0, task.cols,
            [&](Size i) { return (load(dy + i) - exp<T>(load(y + i)) * sum) * scale; });
    if (top.at >= 0)
      put(dx + top.at, top.dx * static_cast<double>(task.scale));
  }
}

// Of segments of the classes, from the sums of whole rows. Beside +inf `others` is 0, or NaN.
SOFTSTEP_INLINE bool at_infinity(const RowSums& sums) { return sums.max == kInfinity<double>; }
SOFTSTEP_INLINE double log_sum(const RowSums& sums) {
  if (at_infinity(sums))
    return sums.others;
  return sums.in_top == 1 && sums.others <= 1 ? log1p_scalar(sums.others)
                                              : log_scalar(sums.others + sums.in_top);
}

template <class S> void softmax_segment(const SoftmaxTask<S>& task) noexcept {
  using T = Compute<S>;
  for (Size row = 0; row < task.rows; ++row) {
    const S* x = task.x.data + row * task.x.stride;
    const RowSums& sums = task.sums[row];
    const ScaledShift<T> shift(static_cast<T>(sums.max), {task.scale});
    const Vec<T> factor = broadcast(
        static_cast<T>(1 / (at_infinity(sums) ? sums.max - sums.max : sums.others + sums.in_top)));
    map_row(task.y.data + row * task.y.stride, 0, task.cols,
            [&](Size i) { return exp<T>(shift(load(x + i))) * factor; });
  }
}

template <class S> void log_softmax_segment(const SoftmaxTask<S>& task) noexcept {
  using T = Compute<S>;
  for (Size row = 0; row < task.rows; ++row) {
    const S* x = task.x.data + row * task.x.stride;
    const Vec<T> max = broadcast(static_cast<T>(task.sums[row].max)), scale = broadcast(task.scale),
                 log_s = broadcast(static_cast<T>(log_sum(task.sums[row])));
    map_row(task.y.data + row * task.y.stride, 0, task.cols,
            [&](Size i) { return (load(x + i) - max) * scale - log_s; });
  }
}

template <class S> void logsumexp_segment(const SoftmaxTask<S>& task) noexcept {
  for (Size row = 0; row < task.rows; ++row) {
    const RowSums& sums = task.sums[row];
    const double top = sums.max * static_cast<double>(task.scale);
    const bool masked = sums.max == -kInfinity<double> && sums.others + sums.in_top == 0;
    task.row_result[row] = static_cast<Compute<S>>(masked ? top : top + log_sum(sums));
  }
}

template <class S>
constexpr SoftmaxKernels<S> kTable = {
    softmax_rows<S>,    by_scale<LogProbabilityRow, S>, by_scale<LogSumRow, S>,
    entropy_rows<S>,    softmax_backward_rows<S>,       log_softmax_backward_rows<S>,
    softmax_segment<S>, log_softmax_segment<S>,         logsumexp_segment<S>};

} // namespace

const SoftmaxKernels<float> softmax_rows_f32 = kTable<float>;
const SoftmaxKernels<double> softmax_rows_f64 = kTable<double>;
const SoftmaxKernels<Float16> softmax_rows_f16 = kTable<Float16>;
const SoftmaxKernels<BFloat16> softmax_rows_bf16 = kTable<BFloat16>;

} // namespace softstep::KERNEL_ISA
