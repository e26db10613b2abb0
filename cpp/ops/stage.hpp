// Rows that no kernel shape can walk where they lie, or not well, are staged: copied to a small
// tile, and the result back. Tiles of few classes are turned to one row per lane, planes of classes
// stay planes, longer rows are made contiguous. Masks are applied on the way; in lanes half
// precision is widened.
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
// Of a tile of planes: a block of work, for long runs; a fraction of a second-level cache.
constexpr Size kPlaneElements = 49152;
constexpr Size kTileRowMultiple = 16; // lanes of the widest vector

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

// f(c, run) for the runs of n rows in many planes. The next ones are fetched meanwhile, no more
// than the ways of a set that they may share.
template <class S, class F> void for_each_run(S* first, Size class_stride, Size cols, Size n, F f) {
  constexpr Size ahead = kCacheWays / 2, line = kAliasLine / static_cast<Size>(sizeof(S));
  for (Size c = 0; c < cols; ++c) {
    for (Size i = 0; c + ahead < cols && i < n; i += line)
      __builtin_prefetch(first + (c + ahead) * class_stride + i, !std::is_const_v<S>);
    f(c, first + c * class_stride);
  }
}

// n rows of an operand from `start` on, one per lane of the tile.
template <class Problem, class S>
void copy_in(const Problem& problem, Matrix<S> tile, const Operand<S>& from, Size start, Size n) {
  const S* at = problem.row(from, start);
  const Size row_stride = problem.inner_stride(from);
  if (from.class_stride == 1)
    return dispatch::active_for<S>().transpose->transpose(tile, {at, row_stride}, n, problem.cols);
  for_each_run(at, from.class_stride, problem.cols, n, [&](Size c, const S* run) {
    copy_strided(tile.data + c * tile.stride, 1, run, row_stride, n);
  });
}

template <class Problem, class S>
void copy_out(const Problem& problem, const Operand<S>& to, Matrix<S> tile, Size start, Size n) {
  S* at = problem.row(to, start);
  const Size row_stride = problem.inner_stride(to);
  if (to.class_stride == 1)
    return dispatch::active_for<S>().transpose->transpose(
        {at, row_stride}, {tile.data, tile.stride}, problem.cols, n);
  for_each_run(at, to.class_stride, problem.cols, n, [&](Size c, S* run) {
    copy_strided(run, row_stride, tile.data + c * tile.stride, 1, n);
  });
}

// The same in the type of lanes. Half precision goes through `room`, as large as the tile, unless
// its planes can be read and written where they lie.
template <class Problem, class S>
void turn_in(const Problem& problem, Matrix<Compute<S>> tile, const Operand<S>& from, Size start,
             Size n, [[maybe_unused]] S* room) {
  if constexpr (std::is_same_v<S, Compute<S>>) {
    copy_in(problem, tile, from, start, n);
  } else {
    Matrix<const S> narrow = {problem.row(from, start), from.class_stride};
    if (from.class_stride == 1 || problem.inner_stride(from) != 1) {
      copy_in(problem, {room, tile.stride}, from, start, n);
      narrow = {room, tile.stride};
    }
    for_each_run(narrow.data, narrow.stride, problem.cols, n, [&](Size c, const S* run) {
      dispatch::active_for<S>().half->widen(tile.data + c * tile.stride, run, n);
    });
  }
}

template <class Problem, class S>
void turn_out(const Problem& problem, const Operand<S>& to, Matrix<Compute<S>> tile, Size start,
              Size n, [[maybe_unused]] S* room) {
  if constexpr (std::is_same_v<S, Compute<S>>) {
    copy_out(problem, to, tile, start, n);
  } else {
    const bool direct = to.class_stride != 1 && problem.inner_stride(to) == 1;
    const Matrix<S> narrow =
        direct ? Matrix<S>{problem.row(to, start), to.class_stride} : Matrix<S>{room, tile.stride};
    for_each_run(narrow.data, narrow.stride, problem.cols, n, [&](Size c, S* run) {
      dispatch::active_for<S>().half->narrow(run, tile.data + c * tile.stride, n);
    });
    if (!direct)
      copy_out(problem, to, narrow, start, n);
  }
}

template <class S> Compute<S> widened(S value) {
  if constexpr (std::is_same_v<S, Compute<S>>) {
    return value;
  } else {
    Compute<S> wide;
    dispatch::active_for<S>().half->widen(&wide, &value, 1);
    return wide;
  }
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

// Scratch of one worker: one long row, or a tile of planes and, in half precision, room for it,
// where a row fits too.
template <class S, class Q> struct Stage {
  std::unique_ptr<S[]> first;
  std::unique_ptr<Q[]> second;
  std::unique_ptr<Compute<S>[]> lanes;
  std::unique_ptr<Compute<Q>[]> second_lanes;

  void allocate(const RowProblem<S, Q>& problem, const Plan& plan) {
    const auto cols = static_cast<std::size_t>(problem.cols);
    const bool wide_tile = plan.shape == kLaneShape && plan.staged;
    if (plan.shape == kRowShape || plan.rests) {
      if (!wide_tile || std::is_same_v<S, Compute<S>>)
        first.reset(new S[cols]);
      if (problem.second.data)
        second.reset(new Q[cols]);
    }
    if (!wide_tile)
      return;
    const Size rows = detail::tile_rows(detail::kPlaneElements, problem.cols);
    const std::size_t elements = cols * static_cast<std::size_t>(detail::plane_stride(rows));
    lanes.reset(new Compute<S>[elements]);
    if (problem.second.data)
      second_lanes.reset(new Compute<Q>[elements]);
    if constexpr (!std::is_same_v<S, Compute<S>>)
      first.reset(new S[elements]);
  }
};

namespace detail {

// One row per lane: a tile of n rows from `row` on. The result overwrites the tile of the first
// input: every kernel may work in place.
template <class S, class Q, class Kernel>
void run_lane_tile(const RowProblem<S, Q>& problem, Size row, Size n, Kernel&& kernel,
                   Matrix<Compute<S>> first, Matrix<Compute<Q>> second, S* room) {
  RowTile<Compute<S>, Compute<Q>> tile{kLaneShape, row, n, first, {nullptr, 0}, {nullptr, 0}};
  turn_in(problem, first, problem.first, row, n, room);
  mask_out(problem, first.data, first.stride, 1, widened(problem.masked_first), row, n);
  if (problem.second.data) {
    tile.second = second;
    // Of type S, or of none that needs it.
    turn_in(problem, second, problem.second, row, n, reinterpret_cast<Q*>(room));
    mask_out(problem, second.data, second.stride, 1, widened(problem.masked_second), row, n);
  }
  if (problem.output.data)
    tile.output = first;
  kernel(tile);
  if (!problem.output.data)
    return;
  mask_out(problem, first.data, first.stride, 1, widened(problem.masked_output), row, n);
  turn_out(problem, problem.output, first, row, n, room);
}

} // namespace detail

// Few adjacent classes: turned.
template <class S, class Q, class Kernel>
void run_turned(const RowProblem<S, Q>& problem, Size start, Size rows, Kernel&& kernel) {
  using detail::kTurnedElements;
  alignas(64) Compute<S> first[kTurnedElements];
  alignas(64) Compute<Q> second[kTurnedElements];
  alignas(64) S room[std::is_same_v<S, Compute<S>> ? 1 : kTurnedElements];
  const Size most = detail::tile_rows(kTurnedElements, problem.cols);
  for (Size done = 0; done < rows; done += most)
    detail::run_lane_tile(problem, start + done, std::min(most, rows - done), kernel, {first, most},
                          {second, most}, room);
}

template <class S, class Q, class Kernel>
void run_lanes_staged(const RowProblem<S, Q>& problem, Size start, Size rows, Kernel&& kernel,
                      Stage<S, Q>& stage) {
  const Size most = detail::tile_rows(detail::kPlaneElements, problem.cols);
  const Size stride = detail::plane_stride(most);
  for (Size done = 0; done < rows; done += most)
    detail::run_lane_tile(problem, start + done, std::min(most, rows - done), kernel,
                          {stage.lanes.get(), stride}, {stage.second_lanes.get(), stride},
                          stage.first.get());
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
