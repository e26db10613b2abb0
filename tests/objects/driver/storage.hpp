// The storage types by name, and their numbers as doubles.
#pragma once

#include "kernels/kernels.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

namespace softstep::driver {

template <class T> const char* name_of();
template <> inline const char* name_of<float>() { return "float32"; }
template <> inline const char* name_of<double>() { return "float64"; }
template <> inline const char* name_of<Float16>() { return "float16"; }
template <> inline const char* name_of<BFloat16>() { return "bfloat16"; }
template <> inline const char* name_of<std::int32_t>() { return "int32"; }

inline double widened(float value) { return static_cast<double>(value); }
inline double widened(double value) { return value; }
inline double widened(std::int32_t value) { return value; }
inline double widened(BFloat16 value) {
  return static_cast<double>(std::bit_cast<float>(std::uint32_t{value.bits} << 16));
}
inline double widened(Float16 value) {
  const int exponent = value.bits >> 10 & 0x1f, fraction = value.bits & 0x3ff;
  double size = std::ldexp(exponent == 0 ? fraction : fraction + 0x400, std::max(exponent, 1) - 25);
  if (exponent == 0x1f)
    size = fraction ? std::numeric_limits<double>::quiet_NaN()
                    : std::numeric_limits<double>::infinity();
  return value.bits & 0x8000 ? -size : size;
}

// NaNs that no kernel makes, and an index that no row has.
template <class T> T guard() {
  if constexpr (sizeof(T) == 8)
    return std::bit_cast<T>(std::uint64_t{0x7ffc'5afe'0fc0'ffee});
  else if constexpr (sizeof(T) == 4)
    return std::bit_cast<T>(std::uint32_t{0x7fd5'afe0});
  else
    return std::bit_cast<T>(std::uint16_t{0x7fd5});
}
template <class T> bool is_guard(T value) {
  const T expected = guard<T>();
  return std::memcmp(&value, &expected, sizeof value) == 0;
}

// f(T()) for the type of that name: storage types, or those of whole kernels.
template <class F> void with_storage(const std::string& name, F&& f) {
  if (name == "float32")
    f(float());
  else if (name == "float64")
    f(double());
  else if (name == "float16")
    f(Float16());
  else if (name == "bfloat16")
    f(BFloat16());
  else
    throw std::runtime_error("no kernels for " + name);
}
template <class F> void with_half(const std::string& name, F&& f) {
  if (name == "float16")
    f(Float16());
  else if (name == "bfloat16")
    f(BFloat16());
  else
    throw std::runtime_error("no such half precision: " + name);
}
template <class F> void with_float(const std::string& name, F&& f) {
  if (name == "float32")
    f(float());
  else if (name == "float64")
    f(double());
  else
    throw std::runtime_error("no kernels for " + name);
}

} // namespace softstep::driver
