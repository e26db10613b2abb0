// Softmax family, rows adjacent (kLaneShape): one row per lane.
#include "families.hpp"
#include "lane_sweep.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <class T> struct LaneNormalizer {
  Vec<T> top, sum; // of exp((x - top) * scale)
};

// f(c, u, e) sees the shifted logit u of class c and its exponential e.
template <class T, class Group, class F>
SOFTSTEP_INLINE LaneNormalizer<T> normalize(Group group, Matrix<const T> x, Size cols, T scale,
                                            F f) {
  const Vec<T> top = max_lanes<T>(group, x, cols);
  const Vec<T> reference = finite_reference<T>(top);
  Vec<T> sum{};
  for (Size c = 0; c < cols; ++c) {
    const Vec<T> u = (group.load_class(x, c) - reference) * scale;
    const Vec<T> e = exp<T>(u);
    f(c, u, e);
    sum += e;
  }
  return {top, sum};
}

// log of the sum. With +inf in the row the sum is NaN, but the logarithm relative to that infinity
// is 0, unless there is a true NaN too.
template <class T, class Group>
SOFTSTEP_INLINE Vec<T> log_sum(Group group, Matrix<const T> x, Size cols,
                               LaneNormalizer<T> normalizer) {
  Vec<T> log_s = log<T>(normalizer.sum);
  const Mask<T> infinite = normalizer.top == kInfinity<T>;
  if (any<T>(infinite)) {
    Mask<T> has_nan{};
    for (Size c = 0; c < cols; ++c) {
      const Vec<T> v = group.load_class(x, c);
      has_nan |= v != v;
    }
    log_s = select<T>(infinite & ~has_nan, Vec<T>{}, log_s);
  }
  return log_s;
}

template <class T> void softmax(const SoftmaxTask<T>& task) noexcept {
  for_each_group<T>(task.rows, [&](auto group) {
    const auto normalizer =
        normalize(group, task.x, task.cols, task.scale,
                  [&](Size c, Vec<T>, Vec<T> e) { group.store_class(task.y, c, e); });
    const Vec<T> factor = T(1) / normalizer.sum;
    for (Size c = 0; c < task.cols; ++c)
      group.store_class(task.y, c, group.load_from(task.y.data + c * task.y.stride) * factor);
  });
}

template <class T> void log_softmax(const SoftmaxTask<T>& task) noexcept {
  for_each_group<T>(task.rows, [&](auto group) {
    const auto normalizer =
        normalize(group, task.x, task.cols, task.scale, [](Size, Vec<T>, Vec<T>) {});
    const Vec<T> log_s = log_sum(group, task.x, task.cols, normalizer);
    for (Size c = 0; c < task.cols; ++c) {
      const Vec<T> u = (group.load_class(task.x, c) - normalizer.top) * task.scale;
      group.store_class(task.y, c, u - log_s);
    }
  });
}

template <class T> void logsumexp(const SoftmaxTask<T>& task) noexcept {
  for_each_group<T>(task.rows, [&](auto group) {
    const auto normalizer =
        normalize(group, task.x, task.cols, task.scale, [](Size, Vec<T>, Vec<T>) {});
    const Vec<T> top = normalizer.top * task.scale;
    const Mask<T> masked = (normalizer.top == -kInfinity<T>)&(normalizer.sum == T(0));
    const Vec<T> lse = top + log_sum(group, task.x, task.cols, normalizer);
    group.store_to(task.row_result, select<T>(masked, top, lse));
  });
}

template <class T> void entropy(const SoftmaxTask<T>& task) noexcept {
  for_each_group<T>(task.rows, [&](auto group) {
    Vec<T> moment{};
    const auto normalizer =
        normalize(group, task.x, task.cols, task.scale, [&](Size, Vec<T> u, Vec<T> e) {
          moment += select<T>(e == T(0), Vec<T>{}, e * u); // 0 * -inf is 0
        });
    const Vec<T> h = log<T>(normalizer.sum) - moment / normalizer.sum;
    const Vec<T> undefined = normalizer.sum / normalizer.sum;
    group.store_to(task.row_result, select<T>(normalizer.sum > T(0), h, undefined));
  });
}

template <class T> void softmax_backward(const SoftmaxTask<T>& task) noexcept {
  for_each_group<T>(task.rows, [&](auto group) {
    Vec<T> dot{};
    for (Size c = 0; c < task.cols; ++c)
      dot = fma(group.load_class(task.dy, c), group.load_class(task.x, c), dot);
    for (Size c = 0; c < task.cols; ++c)
      group.store_class(task.y, c,
                        group.load_class(task.x, c) * (group.load_class(task.dy, c) - dot) *
                            task.scale);
  });
}

template <class T> void log_softmax_backward(const SoftmaxTask<T>& task) noexcept {
  for_each_group<T>(task.rows, [&](auto group) {
    Vec<T> sum{};
    for (Size c = 0; c < task.cols; ++c)
      sum += group.load_class(task.dy, c);
    for (Size c = 0; c < task.cols; ++c)
      group.store_class(task.y, c,
                        (group.load_class(task.dy, c) - exp<T>(group.load_class(task.x, c)) * sum) *
                            task.scale);
  });
}

template <class T>
constexpr SoftmaxKernels<T> kTable = {softmax<T>, log_softmax<T>,      logsumexp<T>,
                                      entropy<T>, softmax_backward<T>, log_softmax_backward<T>};

} // namespace

const SoftmaxKernels<float> softmax_lanes_f32 = kTable<float>;
const SoftmaxKernels<double> softmax_lanes_f64 = kTable<double>;

} // namespace softstep::KERNEL_ISA
