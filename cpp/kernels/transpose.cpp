// Tiles of rows with few classes are turned so that one row lies in each lane, and back.
#include "families.hpp"
#include "math.hpp"

#include <cstdint>
#include <cstring>
#include <utility>

namespace softstep::KERNEL_ISA {
namespace {

// Elements are moved as integers of their size.
template <class T> struct BitsOf;
template <> struct BitsOf<std::uint16_t> {
  using type = std::int16_t;
};
template <> struct BitsOf<float> {
  using type = std::int32_t;
};
template <> struct BitsOf<double> {
  using type = std::int64_t;
};

// A block is kSide classes wide, what 16 bytes hold, and as many rows high as the vector has lanes.
// Every 16 bytes of the vectors are a square of kSide x kSide of their own, so that no element
// crosses them in a register: rows are put together on their way from memory.
constexpr Size kSquareBytes = 16;
template <class T> constexpr Size kSide = kSquareBytes / static_cast<Size>(sizeof(T));

template <class T, Size kBytes> struct Bits {
  using Int = typename BitsOf<T>::type;
  using type [[gnu::vector_size(kBytes)]] = Int;
};
template <class T, Size kBytes> using Block = typename Bits<T, kBytes>::type;

template <class T, Size kBytes> struct Square {
  static constexpr Size kCount = kBytes / static_cast<Size>(sizeof(T));
  using V = Block<T, kBytes>;

  // a0 b0 a1 b1 ... of the lower or the upper half of each 16 bytes.
  template <Size kHalf, int... kIndex>
  SOFTSTEP_INLINE static V interleave(V a, V b, std::integer_sequence<int, kIndex...>) {
    constexpr Size n = kSide<T>;
    return __builtin_shufflevector(a, b,
                                   static_cast<int>(kIndex / n * n + kIndex % n / 2 +
                                                    kHalf * n / 2 + (kIndex % 2 ? kCount : 0))...);
  }

  // log2(kSide) perfect shuffles transpose every square.
  SOFTSTEP_INLINE static void transpose(V (&v)[kSide<T>]) {
    constexpr auto kIndices = std::make_integer_sequence<int, static_cast<int>(kCount)>{};
    constexpr Size n = kSide<T>;
#pragma GCC unroll 3
    for (Size stage = 1; stage < n; stage *= 2) {
      V next[n];
#pragma GCC unroll 4
      for (Size i = 0; i < n / 2; ++i) {
        next[2 * i] = interleave<0>(v[i], v[i + n / 2], kIndices);
        next[2 * i + 1] = interleave<1>(v[i], v[i + n / 2], kIndices);
      }
#pragma GCC unroll 8
      for (Size i = 0; i < n; ++i)
        v[i] = next[i];
    }
  }
};

// The first bytes of a row as a number, and back. Six are two words that overlap: a number that is
// put together in memory makes its load wait.
template <Size kBytes> struct WordOf {
  using type = std::uint64_t;
};
template <> struct WordOf<4> {
  using type = std::uint32_t;
};
template <> struct WordOf<2> {
  using type = std::uint16_t;
};
template <Size kBytes> using Word = typename WordOf<kBytes>::type;

template <Size kBytes> SOFTSTEP_INLINE std::uint64_t load_word(const char* from) {
  if constexpr (kBytes == 6) {
    return load_word<4>(from) | load_word<4>(from + 2) << 16;
  } else {
    Word<kBytes> word;
    std::memcpy(&word, from, kBytes);
    return word;
  }
}
template <Size kBytes> SOFTSTEP_INLINE void store_word(char* to, std::uint64_t bytes) {
  if constexpr (kBytes == 6) {
    store_word<4>(to, bytes);
    store_word<4>(to + 2, bytes >> 16);
  } else {
    const auto word = static_cast<Word<kBytes>>(bytes);
    std::memcpy(to, &word, kBytes);
  }
}

// kCols elements in 16 bytes.
using Words [[gnu::vector_size(kSquareBytes)]] = std::uint64_t;
constexpr Size kWordBytes = sizeof(std::uint64_t);

template <class T, Size kCols>
SOFTSTEP_INLINE Block<T, kSquareBytes> load_square_row(const T* row) {
  constexpr Size kBytes = kCols * static_cast<Size>(sizeof(T));
  const char* from = reinterpret_cast<const char*>(row);
  Words words{};
  if constexpr (kBytes <= kWordBytes)
    words[0] = load_word<kBytes>(from);
  else
    words = Words{load_word<kWordBytes>(from), load_word<kBytes - kWordBytes>(from + kWordBytes)};
  return reinterpret_cast<Block<T, kSquareBytes>>(words);
}

template <class T, Size kCols>
SOFTSTEP_INLINE void store_square_row(T* row, Block<T, kSquareBytes> v) {
  constexpr Size kBytes = kCols * static_cast<Size>(sizeof(T));
  char* to = reinterpret_cast<char*>(row);
  const auto words = reinterpret_cast<Words>(v);
  if constexpr (kBytes == kSquareBytes)
    std::memcpy(to, &v, sizeof v);
  else if constexpr (kBytes <= kWordBytes)
    store_word<kBytes>(to, words[0]);
  else {
    store_word<kWordBytes>(to, words[0]);
    store_word<kBytes - kWordBytes>(to + kWordBytes, words[1]);
  }
}

// One vector from every kSide-th row on; kCols elements of each are there to be read.
template <class T, Size kBytes, Size kCols>
SOFTSTEP_INLINE Block<T, kBytes> load_rows(const T* from, Size stride) {
  if constexpr (kBytes == kSquareBytes) {
    return load_square_row<T, kCols>(from);
  } else {
    const auto low = load_rows<T, kBytes / 2, kCols>(from, stride);
    const Size half = kBytes / 2 / static_cast<Size>(sizeof(T));
    const auto high = load_rows<T, kBytes / 2, kCols>(from + half * stride, stride);
    return [&]<int... kIndex>(std::integer_sequence<int, kIndex...>) {
      return __builtin_shufflevector(low, high, kIndex...);
    }(std::make_integer_sequence<int, static_cast<int>(2 * half)>{});
  }
}

template <class T, Size kBytes, Size kCols>
SOFTSTEP_INLINE void store_rows(T* to, Size stride, Block<T, kBytes> v) {
  if constexpr (kBytes == kSquareBytes) {
    store_square_row<T, kCols>(to, v);
  } else {
    constexpr int half = static_cast<int>(kBytes / 2 / static_cast<Size>(sizeof(T)));
    [&]<int... kIndex>(std::integer_sequence<int, kIndex...>) {
      store_rows<T, kBytes / 2, kCols>(to, stride, __builtin_shufflevector(v, v, kIndex...));
      store_rows<T, kBytes / 2, kCols>(to + half * stride, stride,
                                       __builtin_shufflevector(v, v, (half + kIndex)...));
    }(std::make_integer_sequence<int, half>{});
  }
}

// to[c][r] = from[r][c] for kCols classes of as many rows as a block has.
template <class T, Size kBytes, Size kCols>
SOFTSTEP_INLINE void rows_to_lanes(Matrix<T> to, Matrix<const T> from, Size row, Size c) {
  Block<T, kBytes> v[kSide<T>];
#pragma GCC unroll 8
  for (Size i = 0; i < kSide<T>; ++i)
    v[i] = load_rows<T, kBytes, kCols>(from.data + (row + i) * from.stride + c, from.stride);
  Square<T, kBytes>::transpose(v);
#pragma GCC unroll 8
  for (Size i = 0; i < kCols; ++i)
    std::memcpy(to.data + (c + i) * to.stride + row, &v[i], sizeof v[i]);
}

template <class T, Size kBytes, Size kCols>
SOFTSTEP_INLINE void lanes_to_rows(Matrix<T> to, Matrix<const T> from, Size row, Size c) {
  Block<T, kBytes> v[kSide<T>]{};
#pragma GCC unroll 8
  for (Size i = 0; i < kCols; ++i)
    std::memcpy(&v[i], from.data + (c + i) * from.stride + row, sizeof v[i]);
  Square<T, kBytes>::transpose(v);
#pragma GCC unroll 8
  for (Size i = 0; i < kSide<T>; ++i)
    store_rows<T, kBytes, kCols>(to.data + (row + i) * to.stride + c, to.stride, v[i]);
}

// All classes of all rows, of which there is at least a block; the last blocks overlap the ones
// before: they write the same values again.
template <class T, Size kBytes, Size kCols, bool kToLanes>
void transpose_blocks(Matrix<T> to, Matrix<const T> from, Size rows, Size cols) {
  constexpr Size kRows = kBytes / static_cast<Size>(sizeof(T));
  for (Size r = 0; r < rows; r += kRows) {
    const Size row = r + kRows <= rows ? r : rows - kRows;
    for (Size c = 0; c < cols; c += kCols) {
      const Size col = c + kCols <= cols ? c : cols - kCols;
      if constexpr (kToLanes)
        rows_to_lanes<T, kBytes, kCols>(to, from, row, col);
      else
        lanes_to_rows<T, kBytes, kCols>(to, from, row, col);
    }
  }
}

template <class T, Size kBytes, Size kCols, bool kToLanes>
bool transpose_narrow(Matrix<T> to, Matrix<const T> from, Size rows, Size cols) {
  if constexpr (kCols > 1) {
    if (cols < kCols)
      return transpose_narrow<T, kBytes, kCols - 1, kToLanes>(to, from, rows, cols);
    transpose_blocks<T, kBytes, kCols, kToLanes>(to, from, rows, cols);
    return true;
  } else {
    return false;
  }
}

// rows are those of the side that has the classes adjacent.
template <class T, bool kToLanes>
bool transpose_vectors(Matrix<T> to, Matrix<const T> from, Size rows, Size cols) {
  if (rows * static_cast<Size>(sizeof(T)) >= kVectorBytes)
    return transpose_narrow<T, kVectorBytes, kSide<T>, kToLanes>(to, from, rows, cols);
  if (rows * static_cast<Size>(sizeof(T)) >= kSquareBytes)
    return transpose_narrow<T, kSquareBytes, kSide<T>, kToLanes>(to, from, rows, cols);
  return false;
}

template <class T>
void transpose(Matrix<T> to, Matrix<const T> from, Size rows, Size cols) noexcept {
  if (rows >= cols ? transpose_vectors<T, true>(to, from, rows, cols)
                   : transpose_vectors<T, false>(to, from, cols, rows))
    return;
  for (Size r = 0; r < rows; ++r)
    for (Size c = 0; c < cols; ++c)
      to.data[c * to.stride + r] = from.data[r * from.stride + c];
}

// One instance for both types of half precision.
template <class S>
void transpose_half(Matrix<S> to, Matrix<const S> from, Size rows, Size cols) noexcept {
  using Bits = std::uint16_t;
  transpose<Bits>({reinterpret_cast<Bits*>(to.data), to.stride},
                  {reinterpret_cast<const Bits*>(from.data), from.stride}, rows, cols);
}

} // namespace

const TransposeKernels<float> transpose_f32 = {transpose<float>};
const TransposeKernels<double> transpose_f64 = {transpose<double>};
const TransposeKernels<Float16> transpose_f16 = {transpose_half<Float16>};
const TransposeKernels<BFloat16> transpose_bf16 = {transpose_half<BFloat16>};

} // namespace softstep::KERNEL_ISA
