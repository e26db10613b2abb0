// Class-axis problems: arrays of one shape with a class axis, seen as rows (the batch) of classes.
// Rows are numbered in C order of the batch dimensions; per-row arrays are contiguous in that
// order.
#pragma once

#include "kernels/kernels.hpp"
#include "ops/cost.hpp"
#include "parallel/parallel.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

namespace softstep::ops {

// A strided array without its meaning; strides in elements.
template <class T> struct Operand {
  T* data = nullptr; // null: not part of the problem
  std::vector<Size> strides;
  Size class_stride = 0;
};

template <class T> struct RowProblem {
  static constexpr std::size_t kFirst = 0, kSecond = 1, kOutput = 2;

  Size rows = 1, cols = 0;
  std::vector<Size> shape;              // of the batch
  std::array<Operand<T>, 3> operands{}; // two inputs, never written, and the output

  // Joins batch dimensions that every operand walks with one stride.
  void coalesce() {
    for (std::size_t d = shape.size(); d-- > 0;)
      if (shape[d] == 1)
        erase(d);
    for (std::size_t d = shape.size(); d-- > 1;) {
      const bool joins = std::all_of(operands.begin(), operands.end(), [&](const Operand<T>& o) {
        return !o.data || o.strides[d - 1] == o.strides[d] * shape[d];
      });
      if (!joins)
        continue;
      shape[d - 1] *= shape[d];
      for (Operand<T>& o : operands)
        if (o.data)
          o.strides[d - 1] = o.strides[d];
      erase(d);
    }
  }

  Size inner_rows() const { return shape.empty() ? 1 : shape.back(); }
  Size inner_stride(const Operand<T>& o) const { return shape.empty() ? 0 : o.strides.back(); }

  bool classes_adjacent() const {
    return every([](const Operand<T>& o) { return o.class_stride == 1; });
  }
  bool rows_adjacent() const {
    return inner_rows() == 1 || every([this](const Operand<T>& o) { return inner_stride(o) == 1; });
  }

  // The first class of a row.
  T* row(const Operand<T>& o, Size index) const {
    T* at = o.data;
    for (std::size_t d = shape.size(); d-- > 0; index /= shape[d])
      at += index % shape[d] * o.strides[d];
    return at;
  }

private:
  template <class Predicate> bool every(Predicate predicate) const {
    return std::all_of(operands.begin(), operands.end(),
                       [&](const Operand<T>& o) { return !o.data || predicate(o); });
  }
  void erase(std::size_t d) {
    const auto at = static_cast<std::ptrdiff_t>(d);
    shape.erase(shape.begin() + at);
    for (Operand<T>& o : operands)
      if (o.data)
        o.strides.erase(o.strides.begin() + at);
  }
};

// A block of rows as a kernel takes it. `first` is the number of its first row.
template <class T> struct RowTile {
  Shape shape;
  Size first, rows;
  std::array<Matrix<T>, 3> operands; // data null where the problem has none
};

namespace detail {

// Rows that no kernel shape can walk in place are staged: copied to a small tile, and the result
// back. Tiles of few classes are turned to one row per lane; longer rows are made contiguous.
template <class T> struct Stage {
  static constexpr Size kElements = 1024;
  static constexpr Size kRowMultiple = 16; // lanes of the widest vector

  static Size rows_per_tile(Size cols) {
    return std::max(kRowMultiple,
                    kElements / std::max<Size>(cols, 1) / kRowMultiple * kRowMultiple);
  }
};

template <class T>
void copy_in(Matrix<T> tile, const Operand<T>& from, const T* at, Size row_stride, Size rows,
             Size cols, const TransposeKernels<T>& kernels) {
  if (from.class_stride == 1)
    return kernels.transpose(tile, {at, row_stride}, rows, cols);
  for (Size c = 0; c < cols; ++c)
    for (Size r = 0; r < rows; ++r)
      tile.data[c * tile.stride + r] = at[r * row_stride + c * from.class_stride];
}

template <class T>
void copy_out(const Operand<T>& to, T* at, Size row_stride, Matrix<T> tile, Size rows, Size cols,
              const TransposeKernels<T>& kernels) {
  if (to.class_stride == 1)
    return kernels.transpose({at, row_stride}, {tile.data, tile.stride}, cols, rows);
  for (Size c = 0; c < cols; ++c)
    for (Size r = 0; r < rows; ++r)
      at[r * row_stride + c * to.class_stride] = tile.data[c * tile.stride + r];
}

// `rows` rows from `first` on, all with the same outer batch index.
template <class T, class Kernel>
void run_lanes_staged(const RowProblem<T>& problem, Size first, Size rows, Kernel&& kernel,
                      const TransposeKernels<T>& kernels) {
  // The result overwrites the tile of the first input: every kernel may work in place.
  alignas(64) T storage[2][Stage<T>::kElements];
  const Size tile_rows = Stage<T>::rows_per_tile(problem.cols);
  for (Size done = 0; done < rows; done += tile_rows) {
    const Size n = std::min(tile_rows, rows - done);
    RowTile<T> tile{kLaneShape, first + done, n, {}};
    for (std::size_t k = 0; k < 2; ++k) {
      const Operand<T>& o = problem.operands[k];
      if (!o.data)
        continue;
      tile.operands[k] = {storage[k], tile_rows};
      copy_in(tile.operands[k], o, problem.row(o, first + done), problem.inner_stride(o), n,
              problem.cols, kernels);
    }
    const Operand<T>& output = problem.operands[RowProblem<T>::kOutput];
    if (output.data)
      tile.operands[RowProblem<T>::kOutput] = tile.operands[RowProblem<T>::kFirst];
    kernel(tile);
    if (output.data)
      copy_out(output, problem.row(output, first + done), problem.inner_stride(output),
               tile.operands[RowProblem<T>::kOutput], n, problem.cols, kernels);
  }
}

template <class T, class Kernel>
void run_rows_staged(const RowProblem<T>& problem, Size first, Size rows, Kernel&& kernel,
                     T* storage) {
  const Size cols = problem.cols;
  for (Size row = first; row < first + rows; ++row) {
    RowTile<T> tile{kRowShape, row, 1, {}};
    for (std::size_t k = 0; k < 2; ++k) {
      const Operand<T>& o = problem.operands[k];
      if (!o.data)
        continue;
      T* to = storage + static_cast<Size>(k) * cols;
      const T* from = problem.row(o, row);
      for (Size c = 0; c < cols; ++c)
        to[c] = from[c * o.class_stride];
      tile.operands[k] = {to, cols};
    }
    const Operand<T>& output = problem.operands[RowProblem<T>::kOutput];
    if (output.data)
      tile.operands[RowProblem<T>::kOutput] = {storage, cols};
    kernel(tile);
    if (output.data) {
      T* to = problem.row(output, row);
      for (Size c = 0; c < cols; ++c)
        to[c * output.class_stride] = storage[c];
    }
  }
}

template <class T, class Kernel>
void run_direct(const RowProblem<T>& problem, Shape shape, Size first, Size rows, Kernel&& kernel) {
  RowTile<T> tile{shape, first, rows, {}};
  for (std::size_t k = 0; k < tile.operands.size(); ++k) {
    const Operand<T>& o = problem.operands[k];
    if (o.data)
      tile.operands[k] = {problem.row(o, first),
                          shape == kRowShape ? problem.inner_stride(o) : o.class_stride};
  }
  kernel(tile);
}

} // namespace detail

// Calls kernel(tile) for tiles that cover all rows once, in parallel. The cut depends on the shape
// of the problem only.
template <class T, class Kernel>
void for_each_tile(const RowProblem<T>& problem, const TransposeKernels<T>& kernels,
                   Kernel&& kernel) {
  if (problem.rows == 0)
    return;
  const Plan plan = plan_rows(problem.rows, problem.cols, sizeof(T), problem.classes_adjacent(),
                              problem.rows_adjacent());
  std::unique_ptr<T[]> storage;
  const Size per_worker = plan.staged && plan.shape == kRowShape ? 2 * problem.cols : 0;
  if (per_worker > 0)
    storage.reset(new T[static_cast<std::size_t>(per_worker * parallel::max_workers())]);
  const Size inner = problem.inner_rows();
  parallel::for_each_block(plan.blocks, plan.cost_ns, [&](std::int64_t block, int worker) {
    const Size end = std::min(problem.rows, (block + 1) * plan.rows_per_block);
    for (Size row = block * plan.rows_per_block; row < end;) {
      const Size rows = std::min(end - row, inner - row % inner);
      if (!plan.staged)
        detail::run_direct(problem, plan.shape, row, rows, kernel);
      else if (plan.shape == kLaneShape)
        detail::run_lanes_staged(problem, row, rows, kernel, kernels);
      else
        detail::run_rows_staged(problem, row, rows, kernel, storage.get() + worker * per_worker);
      row += rows;
    }
  });
}

} // namespace softstep::ops
