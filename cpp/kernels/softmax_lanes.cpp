// Softmax family, rows adjacent (kLaneShape): one row per lane.
#include "complement.hpp"
#include "families.hpp"
#include "lane_sweep.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <class T> struct LaneNormalizer {
  Vec<T> top, sum; // of exp((x - top) * scale)
};

// f(c, u, e) sees the shifted logit u of class c and its exponential e; fold() as in
// for_each_class.
template <class S, class Group, class F, class Fold, class T = Compute<S>>
SOFTSTEP_INLINE LaneNormalizer<T> normalize(Group group, const SoftmaxTask<S>& task, F f,
                                            Fold fold) {
  const Matrix<const S> x = task.x;
  const Size cols = task.cols;
  const T scale = task.scale;
  const Vec<T> top = max_lanes<T>(group, x, cols);
  const Vec<T> reference = finite_reference<T>(top);
  LaneSum<T> sum;
  for_each_class(
      cols,
      [&](Size c) {
        const Vec<T> u = (group.load_class(x, c) - reference) * scale;
        const Vec<T> e = exp<T>(u);
        f(c, u, e);
        sum += e;
      },
      [&] {
        sum.fold();
        fold();
      },
      [&](Size begin, Size end) SOFTSTEP_INLINE_LAMBDA {
        if (!task.far)
          return;
        fetch_ahead(group, x, begin, end);
        if (task.y.data)
          fetch_ahead(group, task.y, begin, end);
      });
  return {top, sum.total()};
}

// log of the sum. Next to 1 the rounding of the sum would be all of it: so the largest class, whose
// exponential is exactly 1, stays out of `others`.
template <class T> struct LaneOthers {
  LaneSum<T> sum;
  SOFTSTEP_INLINE void add(Vec<T> e) { sum += select<T>(e == T(1), Vec<T>{}, e); }
  SOFTSTEP_INLINE void fold() { sum.fold(); }

  template <class S, class Group>
  SOFTSTEP_INLINE Vec<T> log_sum(Group group, Matrix<const S> x, Size cols,
                                 LaneNormalizer<T> normalizer) const {
    const Vec<T> others = sum.total();
    const Mask<T> small = (normalizer.sum < T(1.5)) & (others < T(0.5));
    const Vec<T> log_s = log_or_log1p<T>(normalizer.sum, others, small);
    return select<T>(infinite_lanes<T>(group, x, cols, normalizer.top), Vec<T>{},
                     select<T>(normalizer.sum == normalizer.sum, log_s, normalizer.sum));
  }
};

template <class S> void softmax(const SoftmaxTask<S>& task) noexcept {
  using T = Compute<S>;
  for_each_group<T>(task.rows, [&](auto group) {
    const auto keep = [&](Size c, Vec<T>, Vec<T> e) { group.store_class(task.y, c, e); };
    const auto normalizer = normalize(group, task, keep, [] {});
    const Vec<T> factor = T(1) / normalizer.sum;
    for (Size c = 0; c < task.cols; ++c)
      group.store_class(task.y, c, group.load_from(task.y.data + c * task.y.stride) * factor);
  });
}

template <class S> void log_softmax(const SoftmaxTask<S>& task) noexcept {
  using T = Compute<S>;
  for_each_group<T>(task.rows, [&](auto group) {
    LaneOthers<T> others;
    const auto normalizer = normalize(
        group, task, [&](Size, Vec<T>, Vec<T> e) { others.add(e); }, [&] { others.fold(); });
    const Vec<T> log_s = others.log_sum(group, task.x, task.cols, normalizer);
    for (Size c = 0; c < task.cols; ++c) {
      const Vec<T> u = (group.load_class(task.x, c) - normalizer.top) * task.scale;
      group.store_class(task.y, c, u - log_s);
    }
  });
}

template <class S> void logsumexp(const SoftmaxTask<S>& task) noexcept {
  using T = Compute<S>;
  for_each_group<T>(task.rows, [&](auto group) {
    LaneOthers<T> others;
    const auto normalizer = normalize(
        group, task, [&](Size, Vec<T>, Vec<T> e) { others.add(e); }, [&] { others.fold(); });
    const Vec<T> log_s = others.log_sum(group, task.x, task.cols, normalizer);
    const Vec<T> top = normalizer.top * task.scale;
    const Mask<T> masked = (normalizer.top == -kInfinity<T>)&(normalizer.sum == T(0));
    group.store_to(task.row_result, select<T>(masked, top, top + log_s));
  });
}

template <class S> void entropy(const SoftmaxTask<S>& task) noexcept {
  using T = Compute<S>;
  for_each_group<T>(task.rows, [&](auto group) {
    LaneSum<T> moment;
    LaneOthers<T> others;
    const auto normalizer = normalize(
        group, task,
        [&](Size, Vec<T> u, Vec<T> e) {
          moment += select<T>(e == T(0), Vec<T>{}, e * u); // 0 * -inf is 0
          others.add(e);
        },
        [&] {
          moment.fold();
          others.fold();
        });
    const Vec<T> log_s = others.log_sum(group, task.x, task.cols, normalizer);
    const Vec<T> h = log_s - moment.total() / normalizer.sum;
    const Vec<T> undefined = normalizer.sum / normalizer.sum;
    group.store_to(task.row_result, select<T>(normalizer.sum > T(0), h, undefined));
  });
}

// The values of the rows that have one such class, there.
template <class Group, class S, class T = Compute<S>>
SOFTSTEP_INLINE void put_where_one(Group group, Matrix<S> dx, Mask<T> at, Mask<T> count,
                                   Vec<T> values) {
  for (Size lane = 0; lane < group.count; ++lane)
    if (count[lane] == 1)
      put(dx.data + at[lane] * dx.stride + group.first + lane, static_cast<double>(values[lane]));
}

// The one class of each row, if there is one, that has nearly all of the probability: its gradient
// comes from the others.
template <class T> struct LikelyClass {
  using Int = typename LaneInt<T>::type;
  Vec<T> p{}, dy{}, others{}, products{};
  Mask<T> at{}, count{}; // more than one if y is not of softmax

  SOFTSTEP_INLINE void see(Size c, Vec<T> y, Vec<T> of_class) {
    const Mask<T> here = has_nearly_all<T>(y);
    others += select<T>(here, Vec<T>{}, y);
    products += select<T>(here, Vec<T>{}, y * of_class);
    p = select<T>(here, y, p);
    dy = select<T>(here, of_class, dy);
    at = here ? Mask<T>{} + static_cast<Int>(c) : at;
    count -= here;
  }
  template <class Group, class S>
  SOFTSTEP_INLINE void write(Group group, Matrix<S> dx, T scale, T rounding) const {
    const Vec<T> rest = complement<T>(p, others, rounding);
    put_where_one(group, dx, at, count, p * (dy * rest - products) * scale);
  }
};

template <class S> void softmax_backward(const SoftmaxTask<S>& task) noexcept {
  using T = Compute<S>;
  for_each_group<T>(task.rows, [&](auto group) {
    LaneSum<T> products;
    Mask<T> likely{};
    for_each_class(
        task.cols,
        [&](Size c) {
          const Vec<T> y = group.load_class(task.x, c);
          likely |= has_nearly_all<T>(y);
          products += group.load_class(task.dy, c) * y;
        },
        [&] { products.fold(); });
    const Vec<T> dot = products.total();
    const bool some = any<T>(likely);
    LikelyClass<T> top;
    for (Size c = 0; some && c < task.cols; ++c)
      top.see(c, group.load_class(task.x, c), group.load_class(task.dy, c));
    for (Size c = 0; c < task.cols; ++c)
      group.store_class(task.y, c,
                        group.load_class(task.x, c) * (group.load_class(task.dy, c) - dot) *
                            task.scale);
    if (some)
      top.write(group, task.y, task.scale, task.rounding);
  });
}

// The same of log-probabilities.
template <class T> struct CertainClass {
  using Int = typename LaneInt<T>::type;
  Vec<T> log_p{}, dy{}, others{};
  Mask<T> at{}, count{}; // more than one if y is not of log_softmax

  SOFTSTEP_INLINE void see(Size c, Vec<T> y, Vec<T> of_class) {
    const Mask<T> here = is_nearly_certain<T>(y);
    others += select<T>(here, Vec<T>{}, of_class);
    log_p = select<T>(here, y, log_p);
    dy = select<T>(here, of_class, dy);
    at = here ? Mask<T>{} + static_cast<Int>(c) : at;
    count -= here;
  }
  template <class Group, class S>
  SOFTSTEP_INLINE void write(Group group, Matrix<S> dx, T scale) const {
    const Vec<T> p = exp<T>(log_p);
    put_where_one(group, dx, at, count, (dy * one_minus_exp<T>(log_p, p) - p * others) * scale);
  }
};

template <class S> void log_softmax_backward(const SoftmaxTask<S>& task) noexcept {
  using T = Compute<S>;
  for_each_group<T>(task.rows, [&](auto group) {
    LaneSum<T> upstream;
    for_each_class(
        task.cols, [&](Size c) { upstream += group.load_class(task.dy, c); },
        [&] { upstream.fold(); });
    const Vec<T> sum = upstream.total();
    const bool some = any<T>(is_nearly_certain<T>(max_lanes<T>(group, task.x, task.cols)));
    CertainClass<T> certain;
    for (Size c = 0; some && c < task.cols; ++c)
      certain.see(c, group.load_class(task.x, c), group.load_class(task.dy, c));
    for (Size c = 0; c < task.cols; ++c)
      group.store_class(task.y, c,
                        (group.load_class(task.dy, c) - exp<T>(group.load_class(task.x, c)) * sum) *
                            task.scale);
    if (some)
      certain.write(group, task.y, task.scale);
  });
}

template <class S>
constexpr SoftmaxKernels<S> kTable = {softmax<S>,
                                      log_softmax<S>,
                                      logsumexp<S>,
                                      entropy<S>,
                                      softmax_backward<S>,
                                      log_softmax_backward<S>,
                                      nullptr,
                                      nullptr,
                                      nullptr};

} // namespace

const SoftmaxKernels<float> softmax_lanes_f32 = kTable<float>;
const SoftmaxKernels<double> softmax_lanes_f64 = kTable<double>;

} // namespace softstep::KERNEL_ISA
