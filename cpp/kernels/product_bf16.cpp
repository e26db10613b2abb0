// Products of bfloat16 panels by AVX512_BF16: a lane adds the products of two pairs.
#include "product_pairs.hpp"
#include "product_tile.hpp"

namespace softstep::KERNEL_ISA {
namespace {

struct PairStep {
  static constexpr Size kDepth = 2;
  using Right = __m512bh;
  SOFTSTEP_INLINE static Right right(const BFloat16* from) {
    Right pairs;
    std::memcpy(&pairs, from, sizeof pairs);
    return pairs;
  }
  SOFTSTEP_INLINE static Right left(const BFloat16* from) {
    int pair;
    std::memcpy(&pair, from, sizeof pair);
    return reinterpret_cast<Right>(_mm512_set1_epi32(pair));
  }
  SOFTSTEP_INLINE static Vec<float> multiply_add(Right a, Right b, Vec<float> sum) {
    return reinterpret_cast<Vec<float>>(_mm512_dpbf16_ps(reinterpret_cast<__m512>(sum), a, b));
  }
};

void multiply(const ProductTask<BFloat16>& task) noexcept {
  multiply_panels<BFloat16, PairStep>(task);
}

} // namespace

extern const PairedProductKernels product;
const PairedProductKernels product = {{multiply, {kTileRows, kTileCols<float>, 2, false}, nullptr},
                                      pair_rows<float>,
                                      pair_rows<BFloat16>};

} // namespace softstep::KERNEL_ISA
