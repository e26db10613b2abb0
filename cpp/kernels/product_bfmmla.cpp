// Products of bfloat16 panels by AArch64's BFMMLA: 2 x 2 sums, to each of which it adds four
// products.
#include "product_pairs.hpp"
#include "product_tile.hpp"

#include <arm_neon.h>

namespace softstep::KERNEL_ISA {
namespace {

// 16 registers of sums, 4 of each operand's lines.
constexpr Size kSide = 8, kBlocks = kSide / 2, kDepth = 4;

// Pairs of four lines, and those of the next step of the depth, as two operands of two lines.
SOFTSTEP_INLINE void load_lines(bfloat16x8_t (&lines)[kBlocks], const BFloat16* pairs) {
  const auto* bits = reinterpret_cast<const std::uint16_t*>(pairs);
#pragma GCC unroll 2
  for (Size k = 0; k < 2; ++k) {
    const uint32x4_t first = vreinterpretq_u32_u16(vld1q_u16(bits + 8 * k)),
                     second = vreinterpretq_u32_u16(vld1q_u16(bits + 2 * kSide + 8 * k));
    lines[2 * k] = vreinterpretq_bf16_u32(vzip1q_u32(first, second));
    lines[2 * k + 1] = vreinterpretq_bf16_u32(vzip2q_u32(first, second));
  }
}

void multiply_tile(const ProductTask<BFloat16>& task, const BFloat16* left, const BFloat16* right,
                   Size row, Size col) {
  for (Size r = row; r < task.rows && r < row + kSide; ++r)
    prefetch<kSide * sizeof(float)>(row_of(task, r, col));
  float32x4_t sums[kBlocks][kBlocks] = {};
  for (Size k = 0; k < task.depth; k += kDepth) {
    bfloat16x8_t a[kBlocks], b[kBlocks];
    load_lines(a, left);
    load_lines(b, right);
#pragma GCC unroll 4
    for (Size i = 0; i < kBlocks; ++i)
#pragma GCC unroll 4
      for (Size j = 0; j < kBlocks; ++j)
        sums[i][j] = vbfmmlaq_f32(sums[i][j], a[i], b[j]);
    left += kSide * kDepth;
    right += kSide * kDepth;
  }
  float rows[kSide * kSide];
#pragma GCC unroll 4
  for (Size i = 0; i < kBlocks; ++i)
#pragma GCC unroll 4
    for (Size j = 0; j < kBlocks; ++j) {
      float* to = rows + 2 * i * kSide + 2 * j;
      vst1_f32(to, vget_low_f32(sums[i][j]));
      vst1_f32(to + kSide, vget_high_f32(sums[i][j]));
    }
  put_part<kSide, kSide>(task, row, col, rows);
}

void multiply(const ProductTask<BFloat16>& task) noexcept {
  const BFloat16* right = task.right;
  for (Size col = 0; col < task.cols; col += kSide, right += kSide * task.depth) {
    const BFloat16* left = task.left;
    for (Size row = 0; row < task.rows; row += kSide, left += kSide * task.depth)
      multiply_tile(task, left, right, row, col);
  }
}

} // namespace

extern const PairedProductKernels product;
const PairedProductKernels product = {
    {multiply, {kSide, kSide, kDepth, false}, nullptr}, pair_rows<float>, pair_rows<BFloat16>};

} // namespace softstep::KERNEL_ISA
