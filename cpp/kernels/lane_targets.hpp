// Class targets of a group of rows, one per lane.
#pragma once

#include "lane_sweep.hpp"
#include "target_mass.hpp"

namespace softstep::KERNEL_ISA {
namespace {

// Class indices as lane integers; lanes without a row are ignored ones.
template <class T, class Group>
SOFTSTEP_INLINE Mask<T> load_targets(Group group, const std::int32_t* target) {
  using Indices [[gnu::vector_size(kLanes<T> * sizeof(std::int32_t))]] = std::int32_t;
  Indices indices = Indices{} + kIgnoredRow;
  std::memcpy(&indices, target + group.first,
              static_cast<std::size_t>(group.count) * sizeof(std::int32_t));
  return __builtin_convertvector(indices, Mask<T>);
}

// Rows all of whose points are ignored.
template <class S, class Group, class T = Compute<S>>
SOFTSTEP_INLINE Mask<T> ignored_rows(const CrossEntropyTask<S>& task, Group group) {
  if (!task.target)
    return Mask<T>{};
  const auto is_ignored = [&](Size point) {
    return load_targets<T>(group, task.target + point * task.point_stride) ==
           static_cast<typename LaneInt<T>::type>(kIgnoredRow);
  };
  Mask<T> none = is_ignored(0);
  const Size points = has_probabilities(task) ? 1 : task.points;
  for (Size k = 1; k < points; ++k)
    none &= is_ignored(k);
  return none;
}

} // namespace
} // namespace softstep::KERNEL_ISA
