// A tile of the product of packed panels, whose sums stay in registers while the depth goes by
// (docs/design/0012-products.md).
#pragma once

#include "kernels.hpp"
#include "simd.hpp"

namespace softstep::KERNEL_ISA {
namespace {

// Vectors of the sums, of one step of `right` and a broadcast of `left` fill the registers.
#if defined(__AVX512F__)
constexpr Size kTileRows = 12;
#elif defined(__aarch64__)
constexpr Size kTileRows = 8; // of 12 GCC 12 puts some on the stack
#elif defined(__AVX__)
constexpr Size kTileRows = 6;
#else
constexpr Size kTileRows = 4;
#endif
constexpr Size kTileVectors = 2;
constexpr Size kFewRows = kTileRows / 3; // of a small batch, whose other rows would be 0
template <class T> constexpr Size kTileCols = kTileVectors * kLanes<T>;

template <class T, Size kRows, Size kVectors> using Sums = Vec<T>[kRows][kVectors];

template <class P>
SOFTSTEP_INLINE Compute<P>* row_of(const ProductTask<P>& task, Size row, Size col) {
  const Size at = task.c_rows ? static_cast<Size>(task.c_rows[row]) : row;
  return task.c.data + at * task.c.stride + col;
}

// Sums of a row of c, from `c` on, as they are put there; `read` is load or partial_load.
template <class P, class T, class Read>
SOFTSTEP_INLINE Vec<T> finished(const ProductTask<P>& task, Vec<T> sum, const T* c, Size row,
                                Size col, Read read) {
  if (task.adds)
    sum += read(c);
  else if (task.bias)
    sum += read(task.bias + col);
  if (task.relu)
    sum = max(Vec<T>{}, sum); // NaN stays
  if (task.gate.data)
    sum = select<T>(read(task.gate.data + row * task.gate.stride + col) > 0, sum, Vec<T>{});
  return sum;
}

// A tile that lies inside c, where the sums need nothing but to be stored, or added.
template <bool kAdds, class P, Size kRows, Size kVectors, class T = Compute<P>>
SOFTSTEP_INLINE void put_sums(const ProductTask<P>& task, Size row, Size col,
                              const Sums<T, kRows, kVectors>& sums) {
  constexpr Size w = kLanes<T>;
#pragma GCC unroll 12
  for (Size r = 0; r < kRows; ++r) {
    T* c = row_of(task, row + r, col);
#pragma GCC unroll 2
    for (Size v = 0; v < kVectors; ++v)
      store(c + v * w, kAdds ? sums[r][v] + load(c + v * w) : sums[r][v]);
  }
}

// The same of any tile, also at the edge of c; `sums` has kRows rows of kCols.
template <Size kRows, Size kCols, class P, class T = Compute<P>>
void put_part(const ProductTask<P>& task, Size row, Size col, const T* sums) {
  constexpr Size w = kLanes<T>;
  for (Size r = row; r < task.rows && r < row + kRows; ++r, sums += kCols) {
    T* c = row_of(task, r, col);
    for (Size v = 0; v < kCols && col + v < task.cols; v += w) {
      const Size n = task.cols - col - v;
      if (n >= w)
        store(c + v, finished(task, load(sums + v), c + v, r, col + v,
                              [](const T* from) { return load(from); }));
      else
        partial_store(c + v, n,
                      finished(task, load(sums + v), c + v, r, col + v,
                               [&](const T* from) { return partial_load(from, n); }));
    }
  }
}

template <class P, Size kRows, Size kVectors, class T = Compute<P>>
SOFTSTEP_INLINE void put(const ProductTask<P>& task, Size row, Size col,
                         const Sums<T, kRows, kVectors>& sums) {
  constexpr Size w = kLanes<T>, kCols = kVectors * w;
  const bool whole = row + kRows <= task.rows && col + kCols <= task.cols;
  if (whole && !task.relu && !task.gate.data) {
    if (task.adds)
      return put_sums<true, P, kRows, kVectors>(task, row, col, sums);
    if (!task.bias)
      return put_sums<false, P, kRows, kVectors>(task, row, col, sums);
  }
  T part[kRows * kCols];
#pragma GCC unroll 12
  for (Size r = 0; r < kRows; ++r)
#pragma GCC unroll 2
    for (Size v = 0; v < kVectors; ++v)
      store(part + r * kCols + v * w, sums[r][v]);
  put_part<kRows, kCols>(task, row, col, part);
}

// What a step of the depth multiplies: elements of `left` broadcast, vectors of `right`.
template <class T> struct ProductStep {
  static constexpr Size kDepth = 1;
  using Right = Vec<T>;
  SOFTSTEP_INLINE static Right right(const T* from) { return load(from); }
  // broadcast() would add 0; this is one load.
  SOFTSTEP_INLINE static Vec<T> left(const T* from) { return *from - Vec<T>{}; }
  SOFTSTEP_INLINE static Vec<T> multiply_add(Vec<T> a, Right b, Vec<T> sum) {
    return fma(a, b, sum);
  }
};

template <class P, Size kRows, class Step>
void multiply_tile(const ProductTask<P>& task, const P* left, const P* right, Size row, Size col) {
  using T = Compute<P>;
  constexpr Size w = kLanes<T>;
  // The result comes from memory, 12 rows far from each other, while the depth goes by.
#pragma GCC unroll 12
  for (Size r = 0; r < kRows; ++r)
    if (row + r < task.rows)
      prefetch<kTileVectors * kVectorBytes>(row_of(task, row + r, col));
  Sums<T, kRows, kTileVectors> sums = {};
  for (Size k = 0; k < task.depth; k += Step::kDepth) {
    __builtin_prefetch(left + 1024 / sizeof(P));
    prefetch<kTileVectors * kVectorBytes>(right + 2048 / sizeof(P));
    typename Step::Right b[kTileVectors];
#pragma GCC unroll 2
    for (Size v = 0; v < kTileVectors; ++v)
      b[v] = Step::right(right + v * w * Step::kDepth);
#pragma GCC unroll 12
    for (Size r = 0; r < kRows; ++r) {
      const auto a = Step::left(left + r * Step::kDepth);
#pragma GCC unroll 2
      for (Size v = 0; v < kTileVectors; ++v)
        sums[r][v] = Step::multiply_add(a, b[v], sums[r][v]);
    }
    left += kTileRows * Step::kDepth;
    right += kTileCols<T> * Step::kDepth;
  }
  put<P, kRows, kTileVectors>(task, row, col, sums);
}

template <class P, class Step> SOFTSTEP_INLINE void multiply_panels(const ProductTask<P>& task) {
  constexpr Size kCols = kTileCols<Compute<P>>;
  const P* right = task.right;
  for (Size col = 0; col < task.cols; col += kCols, right += kCols * task.depth) {
    const P* left = task.left;
    for (Size row = 0; row < task.rows; row += kTileRows, left += kTileRows * task.depth)
      if (task.rows - row <= kFewRows)
        multiply_tile<P, kFewRows, Step>(task, left, right, row, col);
      else
        multiply_tile<P, kTileRows, Step>(task, left, right, row, col);
  }
}

} // namespace
} // namespace softstep::KERNEL_ISA
