// Rows of a panel copied or added in parallel, some of them picked by an index.
#pragma once

#include "kernels/kernels.hpp"

namespace softstep::ops {

// `size` adjacent elements in each of `rows` rows. Rows of `to` are distinct.
template <class S> struct PanelProblem {
  Matrix<Compute<S>> to;
  Matrix<const S> from;      // a stride of 0 repeats one row
  const std::int64_t* index; // or null
  Size rows, size;
};

// to[i] = from[index[i]]
template <class S> void panel_copy(const PanelProblem<S>& problem);

// to[index[i]] += from[i]
template <class S> void panel_add(const PanelProblem<S>& problem);

} // namespace softstep::ops
