// XLA's buffers as the operations see them: dense arrays, the last axis adjacent. jax.vmap puts
// dimensions in front, which an operand that does not vary has with length 1: its stride is 0.
#pragma once

#include "ops/rows.hpp"
#include "parallel/float_mode.hpp"

#include <xla/ffi/api/ffi.h>

#include <cstdint>
#include <exception>
#include <new>
#include <optional>
#include <stdexcept>
#include <vector>

namespace softstep::jax {

namespace ffi = ::xla::ffi;

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
  ffi::DataType type{};
  Dimensions shape;

  Buffer() = default;
  explicit Buffer(const ffi::AnyBuffer& buffer)
      : data(static_cast<char*>(buffer.untyped_data())), type(buffer.element_type()),
        shape(buffer.dimensions().begin(), buffer.dimensions().end()) {}

  template <class T> T* as() const { return reinterpret_cast<T*>(data); }
};

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
    Size stride = static_cast<Size>(ffi::ByteWidth(buffer.type));
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
template <class F> void with_storage(ffi::DataType type, F f) {
  switch (type) {
  case ffi::DataType::F32:
    return f(float{});
  case ffi::DataType::F64:
    return f(double{});
  case ffi::DataType::F16:
    return f(Float16{});
  case ffi::DataType::BF16:
    return f(BFloat16{});
  default:
    throw std::invalid_argument("expected float32, float64, float16 or bfloat16");
  }
}

// Runs f with the default floating-point mode, which XLA's threads do not have, and turns what it
// throws into XLA's error.
template <class F> ffi::Error guarded(F f) {
  const std::uint64_t mode = parallel::detail::set_default_float_mode();
  std::optional<ffi::Error> error;
  try {
    f();
  } catch (const std::invalid_argument& bad) {
    error.emplace(ffi::ErrorCode::kInvalidArgument, std::string("softstep: ") + bad.what());
  } catch (const std::bad_alloc&) {
    error.emplace(ffi::ErrorCode::kResourceExhausted, "softstep: out of memory");
  } catch (const std::exception& other) {
    error.emplace(ffi::ErrorCode::kInternal, std::string("softstep: ") + other.what());
  }
  parallel::detail::restore_float_mode(mode);
  return error ? *error : ffi::Error::Success();
}

// The optional operands, in their order.
class Operands {
public:
  explicit Operands(ffi::RemainingArgs arguments) : arguments_(arguments) {}
  Buffer next(bool given) {
    return given ? Buffer(arguments_.get<ffi::AnyBuffer>(taken_++).value()) : Buffer();
  }

private:
  ffi::RemainingArgs arguments_;
  std::size_t taken_ = 0;
};

} // namespace softstep::jax
