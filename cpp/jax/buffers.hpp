// XLA's buffers as the operations see them: dense arrays, the last axis adjacent. jax.vmap puts
// dimensions in front, which an operand that does not vary has with length 1: its stride is 0.
#pragma once

#include "jax/xla_abi.hpp"
#include "ops/rows.hpp"

#include <cstdint>
#include <stdexcept>
#include <vector>

namespace softstep::jax {

using xla::Type;

using Dimensions = std::vector<Size>;

inline Size count(const Dimensions& shape) {
  Size n = 1;
  for (const Size size : shape)
    n *= size;
  return n;
}

inline void require(bool holds, const char* what) {
  if (!holds)
    throw std::invalid_argument(what);
}

struct Buffer {
  char* data = nullptr; // null: not part of the call
  Type type{};
  Dimensions shape;

  Buffer() = default;
  explicit Buffer(const xla::Buffer& buffer)
      : data(static_cast<char*>(buffer.data)), type(buffer.type),
        shape(buffer.shape, buffer.shape + buffer.dimensions) {}

  template <class T> T* as() const { return reinterpret_cast<T*>(data); }
};

inline Size bytes_of(Type type) {
  switch (type) {
  case Type::kBool:
  case Type::kInt8:
  case Type::kUInt8:
    return 1;
  case Type::kInt16:
  case Type::kUInt16:
  case Type::kFloat16:
  case Type::kBFloat16:
    return 2;
  case Type::kInt32:
  case Type::kUInt32:
  case Type::kFloat32:
    return 4;
  case Type::kInt64:
  case Type::kUInt64:
  case Type::kFloat64:
    return 8;
  }
  throw std::invalid_argument("an operand has an unknown dtype");
}

// Element strides of an operand along dimensions of these lengths: 0 where it has the length 1.
inline Dimensions strides_of(const Buffer& buffer, const Dimensions& shape) {
  require(buffer.shape.size() == shape.size(), "an operand has the wrong number of dimensions");
  Dimensions strides(shape.size());
  Size stride = 1;
  for (std::size_t d = shape.size(); d-- > 0; stride *= buffer.shape[d]) {
    require(buffer.shape[d] == shape[d] || buffer.shape[d] == 1, "an operand has the wrong shape");
    strides[d] = buffer.shape[d] == 1 ? 0 : stride;
  }
  return strides;
}

// An operand of a problem of this shape; the class axis counts from its end.
template <class T>
ops::Operand<T> operand(const Buffer& buffer, const Dimensions& shape, Size axis) {
  ops::Operand<T> o;
  if (!buffer.data)
    return o;
  o.data = buffer.as<T>();
  o.strides = strides_of(buffer, shape);
  const auto at = o.strides.end() + axis;
  o.class_stride = *at;
  o.strides.erase(at);
  return o;
}

inline Dimensions without_axis(Dimensions shape, Size axis) {
  shape.erase(shape.end() + axis);
  return shape;
}

// The dimensions that jax.vmap has put in front, as far as they are taken one by one.
class Batch {
public:
  Batch(const Dimensions& shape, std::size_t dimensions)
      : shape_(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(dimensions)) {}

  Size size() const { return count(shape_); }

  // The part of a buffer that belongs to one of them.
  Buffer at(Size index, Buffer buffer) const {
    if (!buffer.data)
      return buffer;
    require(buffer.shape.size() >= shape_.size(), "an operand has too few dimensions");
    const auto front = buffer.shape.begin() + static_cast<std::ptrdiff_t>(shape_.size());
    Size stride = bytes_of(buffer.type);
    for (auto size = front; size != buffer.shape.end(); ++size)
      stride *= *size;
    for (std::size_t d = shape_.size(); d-- > 0; index /= shape_[d]) {
      require(buffer.shape[d] == shape_[d] || buffer.shape[d] == 1, "a batch does not fit");
      buffer.data += buffer.shape[d] == 1 ? 0 : index % shape_[d] * stride;
      stride *= buffer.shape[d];
    }
    buffer.shape.erase(buffer.shape.begin(), front);
    return buffer;
  }

private:
  Dimensions shape_;
};

// Calls f(S{}) with the storage type.
template <class F> void with_storage(Type type, F f) {
  switch (type) {
  case Type::kFloat32:
    return f(float{});
  case Type::kFloat64:
    return f(double{});
  case Type::kFloat16:
    return f(Float16{});
  case Type::kBFloat16:
    return f(BFloat16{});
  default:
    throw std::invalid_argument("expected float32, float64, float16 or bfloat16");
  }
}

} // namespace softstep::jax
