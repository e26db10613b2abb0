// Panels of bfloat16: neighbours in the depth lie together, as one lane multiplies them.
#pragma once

#include "storage.hpp"

namespace softstep::KERNEL_ISA {
namespace {

// The bits of a bfloat16 in the low half of each lane.
SOFTSTEP_INLINE WideBits pair_bits(const BFloat16* from, Size n) {
  HalfBits half{};
  std::memcpy(&half, from, static_cast<std::size_t>(n) * sizeof(BFloat16));
  return widen_bits(half);
}
SOFTSTEP_INLINE WideBits pair_bits(const float* from, Size n) {
  const Vec<float> v = n == kLanes<float> ? load(from) : partial_load(from, n);
  const WideBits bits = wide_bits(v);
  return v == v ? Codec<BFloat16>::rounded(bits) : (bits >> 16) | 0x40;
}

// to[2 i] = first[i], to[2 i + 1] = second[i]; second may be null, for 0.
template <class S>
void pair_rows(BFloat16* to, const S* first, const S* second, Size size) noexcept {
  constexpr Size w = kLanes<float>;
  for (Size i = 0; i < size; i += w) {
    const Size n = size - i < w ? size - i : w;
    WideBits pairs = pair_bits(first + i, n);
    if (second)
      pairs |= pair_bits(second + i, n) << 16;
    std::memcpy(to + 2 * i, &pairs, static_cast<std::size_t>(n) * sizeof(float));
  }
}

} // namespace
} // namespace softstep::KERNEL_ISA
