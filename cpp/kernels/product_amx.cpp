// Products of bfloat16 panels by AMX: a tile register holds 16 rows of 64 bytes.
#include "product_pairs.hpp"
#include "product_tile.hpp"

namespace softstep::KERNEL_ISA {
namespace {

constexpr Size kSide = 16; // rows of a tile register, and its float32 columns
constexpr Size kAmxRows = 2 * kSide, kAmxCols = 2 * kSide, kAmxDepth = 32;
constexpr int kRowBytes = 64;

struct alignas(64) TileConfig {
  std::uint8_t palette, start, reserved[14];
  std::uint16_t row_bytes[16];
  std::uint8_t rows[16];
};
constexpr TileConfig kConfig = {
    1,
    0,
    {},
    {kRowBytes, kRowBytes, kRowBytes, kRowBytes, kRowBytes, kRowBytes, kRowBytes, kRowBytes},
    {kSide, kSide, kSide, kSide, kSide, kSide, kSide, kSide}};

// `left` holds 32 rows of 32 steps of the depth, then the next 32 steps.
void multiply_tile(const ProductTask<BFloat16>& task, const BFloat16* left, const BFloat16* right,
                   Size row, Size col) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  const bool lower = task.rows - row > kSide;
  for (Size r = row; r < task.rows && r < row + kAmxRows; ++r)
    prefetch<kAmxCols * sizeof(float)>(row_of(task, r, col));
  for (Size k = 0; k < task.depth; k += kAmxDepth) {
    _tile_loadd(4, left, kRowBytes);
    _tile_loadd(6, right, 2 * kRowBytes);
    _tile_loadd(7, right + kAmxDepth, 2 * kRowBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if (lower) {
      _tile_loadd(5, left + kSide * kAmxDepth, kRowBytes);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    left += kAmxRows * kAmxDepth;
    right += kAmxCols * kAmxDepth;
  }
  alignas(64) float sums[kAmxRows * kAmxCols];
  constexpr int kSumsBytes = kAmxCols * sizeof(float);
  _tile_stored(0, sums, kSumsBytes);
  _tile_stored(1, sums + kSide, kSumsBytes);
  _tile_stored(2, sums + kSide * kAmxCols, kSumsBytes);
  _tile_stored(3, sums + kSide * kAmxCols + kSide, kSumsBytes);
  put_part<kAmxRows, kAmxCols>(task, row, col, sums);
}

void multiply(const ProductTask<BFloat16>& task) noexcept {
  _tile_loadconfig(&kConfig);
  const BFloat16* right = task.right;
  for (Size col = 0; col < task.cols; col += kAmxCols, right += kAmxCols * task.depth) {
    const BFloat16* left = task.left;
    for (Size row = 0; row < task.rows; row += kAmxRows, left += kAmxRows * task.depth)
      multiply_tile(task, left, right, row, col);
  }
  _tile_release();
}

} // namespace

extern const PairedProductKernels product;
const PairedProductKernels product = {{multiply, {kAmxRows, kAmxCols, kAmxDepth, true}, nullptr},
                                      pair_rows<float>,
                                      pair_rows<BFloat16>};

} // namespace softstep::KERNEL_ISA
