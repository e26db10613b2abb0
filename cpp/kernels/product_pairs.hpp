// Panels of bfloat16: neighbours in the depth lie together, as one lane multiplies them.
#pragma once

#include "storage.hpp"

namespace softstep::KERNEL_ISA {
namespace {

// The bits of a bfloat16 in the low half of each lane; of the first n lanes, kLanes for all.
SOFTSTEP_INLINE WideBits pair_bits(const BFloat16* from, Size n) {
  HalfBits half{};
  if (n == kLanes<float>)
    std::memcpy(&half, from, sizeof half);
  else
    std::memcpy(&half, from, static_cast<std::size_t>(n) * sizeof(BFloat16));
  return widen_bits(half);
}
SOFTSTEP_INLINE WideBits pair_bits(const float* from, Size n) {
  const Vec<float> v = n == kLanes<float> ? load(from) : partial_load(from, n);
  const WideBits bits = wide_bits(v);
  return v == v ? Codec<BFloat16>::rounded(bits) : (bits >> 16) | 0x40;
}

template <class S>
SOFTSTEP_INLINE WideBits pairs_of(const S* first, const S* second, Size i, Size n) {
  const WideBits low = pair_bits(first + i, n);
  return second ? low | pair_bits(second + i, n) << 16 : low;
}

// to[2 i] = first[i], to[2 i + 1] = second[i]; second may be null, for 0.
template <class S>
void pair_rows(BFloat16* to, const S* first, const S* second, Size size) noexcept {
  constexpr Size w = kLanes<float>;
  Size i = 0;
  for (; i + w <= size; i += w) {
    const WideBits pairs = pairs_of(first, second, i, w);
    std::memcpy(to + 2 * i, &pairs, sizeof pairs);
  }
  if (i < size) {
    const WideBits pairs = pairs_of(first, second, i, size - i);
    std::memcpy(to + 2 * i, &pairs, static_cast<std::size_t>(size - i) * sizeof(float));
  }
}

} // namespace
} // namespace softstep::KERNEL_ISA
