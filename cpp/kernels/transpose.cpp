// Tiles of rows with few classes are turned so that one row lies in each lane, and back.
#include "families.hpp"
#include "math.hpp"

namespace softstep::KERNEL_ISA {
namespace {

// Elements are moved as integers of their size.
template <class T> struct BitsOf {
  using type = std::int16_t;
};
template <> struct BitsOf<float> {
  using type = std::int32_t;
};
template <> struct BitsOf<double> {
  using type = std::int64_t;
};

// One stage of the transposition of a kSide x kSide block: of the vectors i and i + distance, the
// elements whose index has the bit `distance` change places.
template <class T, Size kSide, Size kDistance> struct Exchange {
  static constexpr Size kBytes = kSide * static_cast<Size>(sizeof(T));
  using Block [[gnu::vector_size(kBytes)]] = typename BitsOf<T>::type;
  using Index = Block;

  SOFTSTEP_INLINE static void run(Block (&v)[kSide]) {
    static constexpr Lanes kLow = lanes(0), kHigh = lanes(kDistance);
    Index low, high;
    std::memcpy(&low, &kLow, sizeof low);
    std::memcpy(&high, &kHigh, sizeof high);
#pragma GCC unroll 8
    for (Size i = 0; i < kSide; ++i) {
      if (i & kDistance)
        continue;
      const Block a = v[i], b = v[i + kDistance];
      v[i] = shuffle(a, b, low);
      v[i + kDistance] = shuffle(a, b, high);
    }
    if constexpr (kDistance > 1)
      Exchange<T, kSide, kDistance / 2>::run(v);
  }

  SOFTSTEP_INLINE static Block shuffle(Block a, Block b, Index from) {
#if defined(__clang__)
    Block result;
    for (Size j = 0; j < kSide; ++j)
      result[j] = from[j] < kSide ? a[from[j]] : b[from[j] - kSide];
    return result;
#else
    return __builtin_shuffle(a, b, from);
#endif
  }

  // Lane j takes a[j + offset] where j lacks the bit, else b[j - kDistance + offset].
  struct Lanes {
    typename BitsOf<T>::type from[kSide];
  };
  static constexpr Lanes lanes(Size offset) {
    Lanes index{};
    for (Size j = 0; j < kSide; ++j) {
      const Size from = (j & kDistance) ? kSide + j - kDistance + offset : j + offset;
      index.from[j] = static_cast<typename BitsOf<T>::type>(from);
    }
    return index;
  }
};

template <class T, Size kSide>
SOFTSTEP_INLINE void transpose_block(Matrix<T> to, Matrix<const T> from, Size r, Size c) {
  typename Exchange<T, kSide, 1>::Block v[kSide];
#pragma GCC unroll 8
  for (Size i = 0; i < kSide; ++i)
    std::memcpy(&v[i], from.data + (r + i) * from.stride + c, sizeof v[i]);
  Exchange<T, kSide, kSide / 2>::run(v);
#pragma GCC unroll 8
  for (Size i = 0; i < kSide; ++i)
    std::memcpy(to.data + (c + i) * to.stride + r, &v[i], sizeof v[i]);
}

// The last blocks overlap the ones before: they write the same values again.
template <class T, Size kSide>
void transpose_blocks(Matrix<T> to, Matrix<const T> from, Size rows, Size cols) {
  for (Size r = 0; r < rows; r += kSide) {
    const Size row = r + kSide <= rows ? r : rows - kSide;
    for (Size c = 0; c < cols; c += kSide)
      transpose_block<T, kSide>(to, from, row, c + kSide <= cols ? c : cols - kSide);
  }
}

template <class T>
void transpose(Matrix<T> to, Matrix<const T> from, Size rows, Size cols) noexcept {
  // 16-bit elements: 8 of them make a 16-byte vector, which every level has.
  constexpr Size kBytes = sizeof(T) == 2 || kVectorBytes < 32 ? 16 : 32;
  constexpr Size kSide = kBytes / static_cast<Size>(sizeof(T));
  const Size shorter = rows < cols ? rows : cols;
  if (shorter >= kSide)
    return transpose_blocks<T, kSide>(to, from, rows, cols);
  if constexpr (kSide > 4)
    if (shorter >= 4)
      return transpose_blocks<T, 4>(to, from, rows, cols);
  for (Size r = 0; r < rows; ++r)
    for (Size c = 0; c < cols; ++c)
      to.data[c * to.stride + r] = from.data[r * from.stride + c];
}

} // namespace

const TransposeKernels<float> transpose_f32 = {transpose<float>};
const TransposeKernels<double> transpose_f64 = {transpose<double>};
const TransposeKernels<Float16> transpose_f16 = {transpose<Float16>};
const TransposeKernels<BFloat16> transpose_bf16 = {transpose<BFloat16>};

} // namespace softstep::KERNEL_ISA
