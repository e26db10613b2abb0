// Rows that no kernel shape can walk where they lie are staged: copied to a small tile, and the
// result back. Tiles of few classes are turned to one row per lane; longer rows are made
// contiguous. Masks are applied on the way.
#pragma once

#include "dispatch/dispatch.hpp"
#include "ops/rows.hpp"

#include <algorithm>
#include <memory>

namespace softstep::ops {

namespace detail {

constexpr Size kStageElements = 1024;
constexpr Size kStageRowMultiple = 16; // lanes of the widest vector

inline Size stage_rows(Size cols) {
  const Size fit = kStageElements / std::max<Size>(cols, 1);
  return std::max(kStageRowMultiple, fit / kStageRowMultiple * kStageRowMultiple);
}

// n rows of an operand from `start` on, one per lane of the tile.
template <class Problem, class T>
void turn_in(const Problem& problem, Matrix<T> tile, const Operand<T>& from, Size start, Size n) {
  const T* at = problem.row(from, start);
  const Size row_stride = problem.inner_stride(from);
  if (from.class_stride == 1)
    return dispatch::active_for<T>().transpose->transpose(tile, {at, row_stride}, n, problem.cols);
  for (Size c = 0; c < problem.cols; ++c)
    for (Size r = 0; r < n; ++r)
      tile.data[c * tile.stride + r] = at[r * row_stride + c * from.class_stride];
}

template <class Problem, class T>
void turn_out(const Problem& problem, const Operand<T>& to, Matrix<T> tile, Size start, Size n) {
  T* at = problem.row(to, start);
  const Size row_stride = problem.inner_stride(to);
  if (to.class_stride == 1)
    return dispatch::active_for<T>().transpose->transpose(
        {at, row_stride}, {tile.data, tile.stride}, problem.cols, n);
  for (Size c = 0; c < problem.cols; ++c)
    for (Size r = 0; r < n; ++r)
      at[r * row_stride + c * to.class_stride] = tile.data[c * tile.stride + r];
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

template <class S, class Q, class Kernel>
void run_lanes_staged(const RowProblem<S, Q>& problem, Size start, Size rows, Kernel&& kernel) {
  // The result overwrites the tile of the first input: every kernel may work in place.
  alignas(64) S first[detail::kStageElements];
  alignas(64) Q second[detail::kStageElements];
  const Size tile_rows = detail::stage_rows(problem.cols);
  for (Size done = 0; done < rows; done += tile_rows) {
    const Size n = std::min(tile_rows, rows - done), row = start + done;
    RowTile<S, Q> tile{kLaneShape, row, n, {first, tile_rows}, {nullptr, 0}, {nullptr, 0}};
    detail::turn_in(problem, tile.first, problem.first, row, n);
    detail::mask_out(problem, first, tile_rows, 1, problem.masked_first, row, n);
    if (problem.second.data) {
      tile.second = {second, tile_rows};
      detail::turn_in(problem, tile.second, problem.second, row, n);
      detail::mask_out(problem, second, tile_rows, 1, problem.masked_second, row, n);
    }
    if (problem.output.data)
      tile.output = tile.first;
    kernel(tile);
    if (problem.output.data)
      detail::turn_out(problem, problem.output, tile.output, row, n);
  }
}

// Scratch of one worker for one long row.
template <class S, class Q> struct RowStage {
  std::unique_ptr<S[]> first;
  std::unique_ptr<Q[]> second;

  void allocate(const RowProblem<S, Q>& problem) {
    first.reset(new S[static_cast<std::size_t>(problem.cols)]);
    if (problem.second.data)
      second.reset(new Q[static_cast<std::size_t>(problem.cols)]);
  }
};

template <class S, class Q, class Kernel>
void run_rows_staged(const RowProblem<S, Q>& problem, Size start, Size rows, Kernel&& kernel,
                     RowStage<S, Q>& stage) {
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
      S* to = problem.row(problem.output, row);
      for (Size c = 0; c < cols; ++c)
        to[c * problem.output.class_stride] = tile.output.data[c];
    }
  }
}

} // namespace softstep::ops
