// Multi-class hinge with its subgradient, one row per lane. The formulas are those of
// hinge_rows.cpp.
#include "families.hpp"
#include "lane_targets.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <class T> SOFTSTEP_INLINE Mask<T> every_lane(Size value) {
  return Mask<T>{} + static_cast<typename LaneInt<T>::type>(value);
}

template <class T, class Group> void hinge_group(const HingeTask<T>& task, Group group) {
  const Mask<T> target = load_targets<T>(group, task.target);
  Vec<T> own{}, top = broadcast<T>(-kInfinity<T>);
  Mask<T> rival = every_lane<T>(-1), is_nan{};
  for (Size c = 0; c < task.cols; ++c) {
    const Vec<T> s = group.load_class(task.scores, c);
    const Mask<T> here = target == every_lane<T>(c);
    const Mask<T> higher = ~here & (s > top); // so the first of equals stays
    own = select<T>(here, s, own);
    top = select<T>(higher, s, top);
    rival = higher ? every_lane<T>(c) : rival;
    is_nan |= s != s;
  }
  const Vec<T> nan = broadcast(static_cast<T>(__builtin_nan("")));
  const Vec<T> loss = select<T>(is_nan, nan, task.margin + (top - own));
  group.store_to(task.loss, select<T>(loss <= T(0), Vec<T>{}, loss));
  if (!task.dscores.data)
    return;
  const Vec<T> up = select<T>(loss > T(0), broadcast(task.upstream), Vec<T>{});
  const Vec<T> rest = select<T>(loss == loss, Vec<T>{}, nan);
  for (Size c = 0; c < task.cols; ++c) {
    const Vec<T> at_target = select<T>(target == every_lane<T>(c), -up, Vec<T>{});
    const Vec<T> slope = select<T>(rival == every_lane<T>(c), up, at_target);
    group.store_class(task.dscores, c, slope + rest);
  }
}

template <class T> void hinge(const HingeTask<T>& task) noexcept {
  for_each_group<T>(task.rows, [&](auto group) { hinge_group<T>(task, group); });
}

} // namespace

const HingeKernels<float> hinge_lanes_f32 = {hinge<float>};
const HingeKernels<double> hinge_lanes_f64 = {hinge<double>};

} // namespace softstep::KERNEL_ISA
