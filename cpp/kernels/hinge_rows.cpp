// Multi-class hinge (Crammer-Singer) with its subgradient, classes adjacent:
//   loss = max(0, margin + s_r - s_t), r = the first of the highest-scored classes other than t
//   ds = upstream at r, -upstream at t, where the loss is not 0
#include "families.hpp"
#include "row_sweep.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <class T> SOFTSTEP_INLINE Mask<T> is_class(Size at, Size target) {
  return lane_index<T>() == static_cast<typename LaneInt<T>::type>(target - at);
}

// NaN if any score of the row is.
template <class T> T rival_score(const T* s, Size cols, Size target) {
  constexpr Size w = kLanes<T>, kChains = 4;
  Vec<T> top[kChains];
  Mask<T> is_nan[kChains] = {};
  for (Vec<T>& v : top)
    v = broadcast<T>(-kInfinity<T>);
  const auto take = [&](Size i, Size k) {
    const Vec<T> v = load(s + i);
    is_nan[k] |= v != v;
    top[k] = max(select<T>(is_class<T>(i, target), top[k], v), top[k]);
  };
  Size i = 0;
  for (; i + kChains * w <= cols; i += kChains * w) {
#pragma GCC unroll 4
    for (Size k = 0; k < kChains; ++k)
      take(i + k * w, k);
  }
  for (; i + w <= cols; i += w)
    take(i, 0);
  if (i < cols)
    take(cols - w, 1);
  if (any<T>((is_nan[0] | is_nan[1]) | (is_nan[2] | is_nan[3])))
    return static_cast<T>(__builtin_nan(""));
  return reduce_max<T>(max(max(top[0], top[1]), max(top[2], top[3])));
}

// Bounded even if another thread changes the scores meanwhile; then possibly the target itself.
template <class T> Size first_rival(const T* s, Size cols, Size target, T score) {
  constexpr Size w = kLanes<T>;
  Size i = 0;
  while (i + w <= cols && !any<T>((load(s + i) == score) & ~is_class<T>(i, target)))
    i += w;
  while (i < cols && (i == target || s[i] != score))
    ++i;
  return i < cols ? i : target;
}

template <class T> void hinge(const HingeTask<T>& task) noexcept {
  for (Size row = 0; row < task.rows; ++row) {
    const T* s = task.scores.data + row * task.scores.stride;
    const Size target = task.target[row];
    const T rival = rival_score(s, task.cols, target);
    const T loss = task.margin + (rival - s[target]);
    task.loss[row] = loss <= T(0) ? T(0) : loss;
    if (!task.dscores.data)
      continue;
    T* ds = task.dscores.data + row * task.dscores.stride;
    const Size first = loss > T(0) ? first_rival(s, task.cols, target, rival) : 0;
    const Vec<T> rest = broadcast(loss == loss ? T(0) : loss);
    map_row(ds, 0, task.cols, [&](Size) { return rest; });
    if (loss > T(0)) {
      ds[first] = task.upstream;
      ds[target] = -task.upstream;
    }
  }
}

} // namespace

const HingeKernels<float> hinge_rows_f32 = {hinge<float>};
const HingeKernels<double> hinge_rows_f64 = {hinge<double>};

} // namespace softstep::KERNEL_ISA
