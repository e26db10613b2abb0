// Products by multiply-adds: of packed panels, or of operands as they lie.
#include "families.hpp"
#include "product_tile.hpp"

namespace softstep::KERNEL_ISA {
namespace {

template <class T> void multiply(const ProductTask<T>& task) noexcept {
  multiply_panels<T, ProductStep<T>>(task);
}

template <class T, Size kRows, Size kVectors>
void multiply_direct_tile(const DirectProductTask<T>& task, const T* right, Size row, Size col) {
  constexpr Size w = kLanes<T>;
  const T* left[kRows]; // rows beyond the last one are it again, and not put
#pragma GCC unroll 12
  for (Size r = 0; r < kRows; ++r)
    left[r] = task.left + (row + r < task.rows ? row + r : task.rows - 1) * task.left_row;
  Sums<T, kRows, kVectors> sums = {};
  for (Size k = 0, at = 0; k < task.depth; ++k, at += task.left_step, right += task.right_step) {
    Vec<T> b[kVectors];
#pragma GCC unroll 2
    for (Size v = 0; v < kVectors; ++v)
      b[v] = load(right + v * w);
#pragma GCC unroll 12
    for (Size r = 0; r < kRows; ++r) {
      const Vec<T> a = ProductStep<T>::left(left[r] + at);
#pragma GCC unroll 2
      for (Size v = 0; v < kVectors; ++v)
        sums[r][v] = fma(a, b[v], sums[r][v]);
    }
  }
  put<T, kRows, kVectors>(task, row, col, sums);
}

template <class T, Size kVectors>
void multiply_direct_panel(const DirectProductTask<T>& task, const T* right, Size col) {
  for (Size row = 0; row < task.rows; row += kTileRows)
    if (task.rows - row <= kFewRows)
      multiply_direct_tile<T, kFewRows, kVectors>(task, right, row, col);
    else
      multiply_direct_tile<T, kTileRows, kVectors>(task, right, row, col);
}

template <class T> void multiply_direct(const DirectProductTask<T>& task) noexcept {
  const T* right = task.right;
  for (Size col = 0; col < task.cols; col += kTileCols<T>, right += task.right_panel)
    if (task.cols - col <= kLanes<T>)
      multiply_direct_panel<T, 1>(task, right, col);
    else
      multiply_direct_panel<T, kTileVectors>(task, right, col);
}

template <class T>
constexpr ProductKernels<T> kTable = {
    multiply<T>, {kTileRows, kTileCols<T>, 1, false}, multiply_direct<T>};

} // namespace

const ProductKernels<float> product_f32 = kTable<float>;
const ProductKernels<double> product_f64 = kTable<double>;

} // namespace softstep::KERNEL_ISA
