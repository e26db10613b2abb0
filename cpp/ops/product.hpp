// Matrix products of the linear head, of operands of any strides and storage, on our own threads
// (docs/design/0012-products.md).
#pragma once

#include "ops/product_packing.hpp"

namespace softstep::ops {

template <class T> struct ProductProblem {
  Matrix<T> out;                // rows of adjacent elements
  const std::int64_t* out_rows; // distinct rows of `out` instead of the first ones, or null
  ProductOperand left, right;   // (rows, depth) and (cols, depth)
  Size rows, cols, depth;
  const T* bias; // of each column; null where it adds
  bool adds;
  bool relu;            // what is below 0 is put as 0
  Matrix<const T> gate; // of the shape of `out`: 0 is put where it is not above 0; or null
  bool paired;          // operands rounded to bfloat16, where the level multiplies those
};

// out = left right^T + bias, or out += left right^T. Same bits for every number of threads.
template <class T> void product(const ProductProblem<T>& problem);

} // namespace softstep::ops
