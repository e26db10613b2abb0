#include "ops/filter.hpp"

#include "ops/cost.hpp"
#include "parallel/parallel.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace softstep::ops {
namespace {

// Reading out of a cache, or moving what is left.
constexpr double kFilterElementNs = 0.1;

template <class T> double cost_ns(Size rows, Size cols) {
  return static_cast<double>(rows) * static_cast<double>(cols) * kFilterElementNs * sizeof(T) / 4;
}

// NaN is beyond every bound.
template <class T> bool any_beyond(const T* x, Size n, T bound) {
  int beyond = 0;
  for (Size i = 0; i < n; ++i)
    beyond |= !(std::abs(x[i]) <= bound);
  return beyond != 0;
}

template <class T> void mark_row(std::uint8_t* live, const T* x, Size size, T bound) {
  Size begin = 0;
  for (; begin + kFilterTile <= size; begin += kFilterTile, ++live)
    if (!*live)
      *live = any_beyond(x + begin, kFilterTile, bound);
  if (begin < size && !*live)
    *live = any_beyond(x + begin, size - begin, bound);
}

} // namespace

template <class T>
void filter_mark(Matrix<const T> x, const T* bounds, Size rows, Size cols, std::uint8_t* live) {
  constexpr Size kBlockCols = 128 * kFilterTile; // all rows of a block are one thread's
  parallel::for_each_block(
      (cols + kBlockCols - 1) / kBlockCols, cost_ns<T>(rows, cols), [&](std::int64_t block, int) {
        const Size begin = block * kBlockCols;
        const Size n = std::min(kBlockCols, cols - begin);
        for (Size row = 0; row < rows; ++row)
          mark_row(live + begin / kFilterTile, x.data + row * x.stride + begin, n, bounds[row]);
      });
}

template <class T>
void filter_compact(Matrix<T> x, Size rows, Size cols, const std::uint8_t* live) {
  const Size tiles = (cols + kFilterTile - 1) / kFilterTile;
  const Size rows_per_block = std::max<Size>(1, kBlockElements / std::max<Size>(cols, 1));
  parallel::for_each_block((rows + rows_per_block - 1) / rows_per_block, cost_ns<T>(rows, cols),
                           [&](std::int64_t block, int) {
                             const Size first = block * rows_per_block,
                                        last = std::min(rows, first + rows_per_block);
                             for (Size row = first; row < last; ++row) {
                               T* to = x.data + row * x.stride;
                               for (Size tile = 0; tile < tiles; ++tile) {
                                 if (!live[tile])
                                   continue;
                                 const T* from = x.data + row * x.stride + tile * kFilterTile;
                                 const Size n = std::min(kFilterTile, cols - tile * kFilterTile);
                                 if (to != from) // whole tiles lie between them
                                   std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(T));
                                 to += n;
                               }
                             }
                           });
}

template void filter_mark(Matrix<const float>, const float*, Size, Size, std::uint8_t*);
template void filter_mark(Matrix<const double>, const double*, Size, Size, std::uint8_t*);
template void filter_compact(Matrix<float>, Size, Size, const std::uint8_t*);
template void filter_compact(Matrix<double>, Size, Size, const std::uint8_t*);

} // namespace softstep::ops
