// Rows that no kernel shape can walk where they lie, or not well, are staged: copied to a small
// tile, and the result back. Tiles of few classes are turned to one row per lane, planes of classes
// stay planes, longer rows are made contiguous. Masks are applied on the way.
#pragma once

#include "dispatch/dispatch.hpp"
#include "ops/cost.hpp"
#include "ops/rows.hpp"

#include <algorithm>
#include <cstring>
#include <memory>

namespace softstep::ops {

namespace detail {

constexpr Size kTurnedElements = 1024; // of a tile that is turned: half of a first-level cache
constexpr Size kPlaneElements = 16384; // of a tile of planes: long runs for the prefetchers
constexpr Size kTileRowMultiple = 16;  // lanes of the widest vector

inline Size tile_rows(Size elements, Size cols) {
  const Size fit = elements / std::max<Size>(cols, 1);
  return std::max(kTileRowMultiple, fit / kTileRowMultiple * kTileRowMultiple);
}

// Not the distance of a power of two from class to class, which few sets of a cache would hold.
inline Size plane_stride(Size rows) { return rows + kTileRowMultiple; }

template <class T>
void copy_strided(T* to, Size to_stride, const T* from, Size from_stride, Size n) {
  if (to_stride == 1 && from_stride == 1) {
    std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(T));
    return;
  }
  for (Size i = 0; i < n; ++i)
    to[i * to_stride] = from[i * from_stride];
}

// n rows of an operand from `start` on, one per lane of the tile.
template <class Problem, class T>
void turn_in(const Problem& problem, Matrix<T> tile, const Operand<T>& from, Size start, Size n) {
  const T* at = problem.row(from, start);
  const Size row_stride = problem.inner_stride(from);
  if (from.class_stride == 1)
    return dispatch::active_for<T>().transpose->transpose(tile, {at, row_stride}, n, problem.cols);
  for (Size c = 0; c < problem.cols; ++c)
    copy_strided(tile.data + c * tile.stride, 1, at + c * from.class_stride, row_stride, n);
}

template <class Problem, class T>
void turn_out(const Problem& problem, const Operand<T>& to, Matrix<T> tile, Size start, Size n) {
  T* at = problem.row(to, start);
  const Size row_stride = problem.inner_stride(to);
  if (to.class_stride == 1)
    return dispatch::active_for<T>().transpose->transpose(
        {at, row_stride}, {tile.data, tile.stride}, problem.cols, n);
  for (Size c = 0; c < problem.cols; ++c)
    copy_strided(at + c * to.class_stride, row_stride, tile.data + c * tile.stride, 1, n);
}

// In a tile with the strides given, where the mask is 0.
template <class Problem, class T>
void mask_out(const Problem& problem, T* tile, Size class_step, Size row_step, T value, Size start,
              Size n) {
  const std::uint8_t* mask = problem.mask.data ? problem.row(problem.mask, start) : nullptr;
  if (!mask)
    return;
  const Size row_stride = problem.inner_stride(problem.mask);
  for (Size r = 0; r < n; ++r)
    for (Size c = 0; c < problem.cols; ++c)
      if (!mask[r * row_stride + c * problem.mask.class_stride])
        tile[r * row_step + c * class_step] = value;
}

} // namespace detail

// Scratch of one worker.
template <class S, class Q> struct Stage {
  std::unique_ptr<S[]> first;
  std::unique_ptr<Q[]> second;

  // One long row, or a tile of planes.
  void allocate(const RowProblem<S, Q>& problem, const Plan& plan) {
    const Size rows = detail::tile_rows(detail::kPlaneElements, problem.cols);
    const Size elements = problem.cols * (plan.shape == kRowShape ? 1 : detail::plane_stride(rows));
    first.reset(new S[static_cast<std::size_t>(elements)]);
    if (problem.second.data)
      second.reset(new Q[static_cast<std::size_t>(elements)]);
  }
};

namespace detail {

// One row per lane: a tile of n rows from `row` on. The result overwrites the tile of the first
// input: every kernel may work in place.
template <class S, class Q, class Kernel>
void run_lane_tile(const RowProblem<S, Q>& problem, Size row, Size n, Kernel&& kernel,
                   Matrix<S> first, Matrix<Q> second) {
  RowTile<S, Q> tile{kLaneShape, row, n, first, {nullptr, 0}, {nullptr, 0}};
  turn_in(problem, first, problem.first, row, n);
  mask_out(problem, first.data, first.stride, 1, problem.masked_first, row, n);
  if (problem.second.data) {
    tile.second = second;
    turn_in(problem, second, problem.second, row, n);
    mask_out(problem, second.data, second.stride, 1, problem.masked_second, row, n);
  }
  if (problem.output.data)
    tile.output = first;
  kernel(tile);
  if (!problem.output.data)
    return;
  mask_out(problem, first.data, first.stride, 1, problem.masked_output, row, n);
  turn_out(problem, problem.output, first, row, n);
}

} // namespace detail

// Few adjacent classes: turned.
template <class S, class Q, class Kernel>
void run_turned(const RowProblem<S, Q>& problem, Size start, Size rows, Kernel&& kernel) {
  alignas(64) S first[detail::kTurnedElements];
  alignas(64) Q second[detail::kTurnedElements];
  const Size most = detail::tile_rows(detail::kTurnedElements, problem.cols);
  for (Size done = 0; done < rows; done += most)
    detail::run_lane_tile(problem, start + done, std::min(most, rows - done), kernel,
                          Matrix<S>{first, most}, Matrix<Q>{second, most});
}

template <class S, class Q, class Kernel>
void run_lanes_staged(const RowProblem<S, Q>& problem, Size start, Size rows, Kernel&& kernel,
                      Stage<S, Q>& stage) {
  const Size most = detail::tile_rows(detail::kPlaneElements, problem.cols);
  const Size stride = detail::plane_stride(most);
  for (Size done = 0; done < rows; done += most)
    detail::run_lane_tile(problem, start + done, std::min(most, rows - done), kernel,
                          Matrix<S>{stage.first.get(), stride},
                          Matrix<Q>{stage.second.get(), stride});
}

template <class S, class Q, class Kernel>
void run_rows_staged(const RowProblem<S, Q>& problem, Size start, Size rows, Kernel&& kernel,
                     Stage<S, Q>& stage) {
  const Size cols = problem.cols;
  const auto gather = [&]<class T>(T* to, const Operand<T>& from, Size row, T masked) {
    const T* at = problem.row(from, row);
    for (Size c = 0; c < cols; ++c)
      to[c] = at[c * from.class_stride];
    detail::mask_out(problem, to, 1, 0, masked, row, 1);
  };
  for (Size row = start; row < start + rows; ++row) {
    RowTile<S, Q> tile{kRowShape, row, 1, {stage.first.get(), cols}, {nullptr, 0}, {nullptr, 0}};
    gather(tile.first.data, problem.first, row, problem.masked_first);
    if (problem.second.data) {
      tile.second = {stage.second.get(), cols};
      gather(tile.second.data, problem.second, row, problem.masked_second);
    }
    if (problem.output.data)
      tile.output = tile.first;
    kernel(tile);
    if (problem.output.data) {
      detail::mask_out(problem, tile.output.data, 1, 0, problem.masked_output, row, 1);
      S* to = problem.row(problem.output, row);
      for (Size c = 0; c < cols; ++c)
        to[c * problem.output.class_stride] = tile.output.data[c];
    }
  }
}

} // namespace softstep::ops
