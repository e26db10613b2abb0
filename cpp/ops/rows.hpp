// Class-axis problems: arrays of one shape with a class axis, seen as rows (the batch) of classes.
// Rows are numbered in C order of the batch dimensions; per-row arrays are contiguous in that
// order.
#pragma once

#include "kernels/kernels.hpp"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

namespace softstep::ops {

// What a masked logit counts as.
template <class S> S negative_infinity() {
  if constexpr (std::is_same_v<S, Float16>)
    return {0xfc00};
  else if constexpr (std::is_same_v<S, BFloat16>)
    return {0xff80};
  else
    return -std::numeric_limits<S>::infinity();
}

// A strided array without its meaning; strides in elements.
template <class S> struct Operand {
  S* data = nullptr; // null: not part of the problem
  std::vector<Size> strides;
  Size class_stride = 0;
};

// Two inputs, never written, and the output. The second input may be of another type.
template <class S, class Q = S> struct RowProblem {
  Size rows = 1, cols = 0;
  std::vector<Size> shape; // of the batch
  Operand<S> first;
  Operand<Q> second;
  Operand<S> output;
  // Classes where the mask is 0 are taken as masked_first and masked_second, and their result is
  // masked_output, whatever the row's others make of it.
  Operand<std::uint8_t> mask;
  S masked_first{};
  Q masked_second{};
  S masked_output{};

  template <class F> void for_each_operand(F f) {
    f(first);
    f(second);
    f(output);
    f(mask);
  }
  template <class F> bool every_operand(F f) const {
    return (!first.data || f(first)) && (!second.data || f(second)) &&
           (!output.data || f(output)) && (!mask.data || f(mask));
  }

  // Joins batch dimensions that every operand walks with one stride.
  void coalesce() {
    for (std::size_t d = shape.size(); d-- > 0;)
      if (shape[d] == 1)
        erase(d);
    for (std::size_t d = shape.size(); d-- > 1;) {
      if (!every_operand(
              [&](const auto& o) { return o.strides[d - 1] == o.strides[d] * shape[d]; }))
        continue;
      shape[d - 1] *= shape[d];
      for_each_operand([&](auto& o) {
        if (o.data)
          o.strides[d - 1] = o.strides[d];
      });
      erase(d);
    }
  }

  Size inner_rows() const { return shape.empty() ? 1 : shape.back(); }
  template <class O> Size inner_stride(const O& o) const {
    return shape.empty() ? 0 : o.strides.back();
  }
  bool classes_adjacent() const {
    return every_operand([](const auto& o) { return o.class_stride == 1; });
  }
  bool rows_adjacent() const {
    return inner_rows() == 1 || every_operand([](const auto& o) { return o.strides.back() == 1; });
  }

  // The first class of a row.
  template <class T> T* row(const Operand<T>& o, Size index) const {
    T* at = o.data;
    for (std::size_t d = shape.size(); d-- > 0; index /= shape[d])
      at += index % shape[d] * o.strides[d];
    return at;
  }

private:
  void erase(std::size_t d) {
    const auto at = static_cast<std::ptrdiff_t>(d);
    shape.erase(shape.begin() + at);
    for_each_operand([at](auto& o) {
      if (o.data)
        o.strides.erase(o.strides.begin() + at);
    });
  }
};

// The types that there are of it, for explicit instances.
#define SOFTSTEP_FOR_ROW_PROBLEMS(instantiate)                                                     \
  instantiate(float, float) instantiate(double, double) instantiate(Float16, Float16)              \
      instantiate(Float16, float) instantiate(BFloat16, BFloat16) instantiate(BFloat16, float)

// A block of rows as a kernel takes it; `start` is the number of its first row. Matrices that the
// problem does not have are null. In the lane shape half precision is float32 on its way.
template <class S, class Q = S> struct RowTile {
  using Scalar = S;
  Shape shape;
  Size start, rows;
  Matrix<S> first;
  Matrix<Q> second;
  Matrix<S> output;
  float* scratch = nullptr; // of this worker, if the operation asked for some
  bool far = false;         // planes in memory
};

} // namespace softstep::ops
