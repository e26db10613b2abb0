// Half precision to float32 and back: to the nearest, or up or down by chance.
#include "families.hpp"
#include "storage.hpp"

namespace softstep::KERNEL_ISA {
namespace {

using LaneBits = WideBits;

// Random bits of an element: a hash of its index and the key, so that neither threads nor the width
// of vectors change them. The constants are the fractions of the golden ratio and of sqrt(3).
SOFTSTEP_INLINE LaneBits random_bits(std::uint64_t key, std::uint32_t index) {
  LaneBits x = reinterpret_cast<LaneBits>(lane_index<float>()) + index;
  x ^= static_cast<std::uint32_t>(key);
  x = (x ^ (x >> 16)) * 0x9e3779b9u;
  x = (x ^ (x >> 15)) + static_cast<std::uint32_t>(key >> 32);
  x *= 0xbb67ae85u;
  return x ^ (x >> 16);
}

// Up with the probability of the part that is cut off, as random bits are added to it and carry.
SOFTSTEP_INLINE LaneBits rounded(BFloat16, Vec<float> v, LaneBits random) {
  const LaneBits bits = wide_bits(v);
  return v == v ? (bits + (random & 0xffff)) >> 16 : (bits >> 16) | 0x40;
}
SOFTSTEP_INLINE LaneBits rounded(Float16, Vec<float> v, LaneBits random) {
  const LaneBits bits = wide_bits(v), sign = (bits >> 16) & 0x8000, size = bits & 0x7fffffff;
  random &= 0x1fff;
  const LaneBits normal = (size + random - 0x38000000) >> 13;
  // Subnormals are whole multiples of 2^-24.
  const Vec<float> steps =
      reinterpret_cast<Vec<float>>(size < 0x38800000 ? size : LaneBits{}) * 0x1p24f +
      __builtin_convertvector(random, Vec<float>) * 0x1p-13f;
  const LaneBits subnormal =
      reinterpret_cast<LaneBits>(__builtin_convertvector(steps, Mask<float>));
  const LaneBits special = size > 0x7f800000 ? LaneBits{} + 0x7e00 : LaneBits{} + 0x7c00;
  const LaneBits finite = size < 0x38800000 ? subnormal : normal;
  return (size >= 0x47800000 ? special : finite) | sign;
}

template <class S> void widen(float* to, const S* from, Size size) noexcept {
  constexpr Size w = kLanes<float>;
  Size i = 0;
  for (; i + w <= size; i += w)
    store(to + i, load(from + i));
  if (i < size)
    partial_store(to + i, size - i, partial_load(from + i, size - i));
}

template <class S> void narrow(S* to, const float* from, Size size) noexcept {
  constexpr Size w = kLanes<float>;
  Size i = 0;
  for (; i + w <= size; i += w)
    store(to + i, load(from + i));
  if (i < size)
    partial_store(to + i, size - i, partial_load(from + i, size - i));
}

template <class S>
void narrow_by_chance(S* to, const float* from, Size size, std::uint64_t key,
                      std::uint32_t index) noexcept {
  constexpr Size w = kLanes<float>;
  for (Size i = 0; i < size; i += w) {
    const Size n = i + w <= size ? w : size - i;
    const Vec<float> v = n == w ? load(from + i) : partial_load(from + i, n);
    const LaneBits random = random_bits(key, index + static_cast<std::uint32_t>(i));
    const HalfBits half = __builtin_convertvector(rounded(S{}, v, random), HalfBits);
    std::memcpy(to + i, &half, static_cast<std::size_t>(n) * sizeof(S));
  }
}

template <class S> constexpr HalfKernels<S> kTable = {widen<S>, narrow<S>, narrow_by_chance<S>};

} // namespace

const HalfKernels<Float16> half_f16 = kTable<Float16>;
const HalfKernels<BFloat16> half_bf16 = kTable<BFloat16>;

} // namespace softstep::KERNEL_ISA
