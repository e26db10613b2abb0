// Class targets of a group of rows, one per lane.
#pragma once

#include "lane_sweep.hpp"

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

} // namespace
} // namespace softstep::KERNEL_ISA
