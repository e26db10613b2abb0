// A call of XLA's: its operands and attributes, and what a handler answers.
#pragma once

#include "jax/buffers.hpp"
#include "parallel/float_mode.hpp"

#include <exception>
#include <new>
#include <string>
#include <string_view>

namespace softstep::jax {

class Call {
public:
  explicit Call(const xla::CallFrame& frame) : frame_(frame) {}

  std::int64_t arguments() const { return frame_.arguments.size; }
  std::int64_t results() const { return frame_.results.size; }
  Buffer argument(std::int64_t index) const { return buffer(frame_.arguments, index); }
  Buffer result(std::int64_t index) const { return buffer(frame_.results, index); }

  std::int64_t integer(const char* name) const {
    return *static_cast<const std::int64_t*>(scalar(name, Type::kInt64));
  }
  double real(const char* name) const {
    return *static_cast<const double*>(scalar(name, Type::kFloat64));
  }

private:
  const xla::CallFrame& frame_;

  static Buffer buffer(const xla::Operands& operands, std::int64_t index) {
    require(index < operands.size, "an operand is missing");
    require(operands.kinds[index] == xla::OperandKind::kBuffer, "an operand is no array");
    return Buffer(*static_cast<const xla::Buffer*>(operands.values[index]));
  }

  const void* scalar(std::string_view name, Type type) const {
    const xla::Attributes& attributes = frame_.attributes;
    for (std::int64_t k = 0; k < attributes.size; ++k) {
      if (std::string_view(attributes.names[k]->data, attributes.names[k]->size) != name)
        continue;
      require(attributes.kinds[k] == xla::AttributeKind::kScalar, "an attribute is no number");
      const auto& found = *static_cast<const xla::Scalar*>(attributes.values[k]);
      require(found.type == type, "an attribute has the wrong dtype");
      return found.value;
    }
    throw std::invalid_argument("an attribute is missing");
  }
};

// The operands after the first, each of which may be absent.
class Optional {
public:
  Optional(const Call& call, std::int64_t first) : call_(call), next_(first) {}
  Buffer next(bool given) { return given ? call_.argument(next_++) : Buffer(); }

private:
  const Call& call_;
  std::int64_t next_;
};

// Before the first call XLA asks for the version that the handler was made for.
inline bool asks_for_version(const xla::CallFrame& frame) {
  for (xla::Extension* at = frame.extensions; at; at = at->next)
    if (at->kind == xla::kMetadataExtension) {
      xla::Metadata& metadata = *reinterpret_cast<xla::MetadataExtension*>(at)->metadata;
      metadata.version.major = xla::kMajorVersion;
      metadata.version.minor = xla::kMinorVersion;
      metadata.traits = 0;
      return true;
    }
  return false;
}

inline xla::Error* error(const xla::CallFrame& frame, xla::ErrorCode code, const char* what) {
  const std::string message = std::string("softstep: ") + what;
  xla::ErrorArguments arguments{sizeof arguments, nullptr, message.c_str(), code};
  return frame.api->create_error(&arguments);
}

// Runs f(call) with the default floating-point mode, which XLA's threads do not have, and turns
// what it throws into XLA's error.
template <class F> xla::Error* answer(const xla::CallFrame& frame, F f) {
  if (asks_for_version(frame))
    return nullptr;
  const std::uint64_t mode = parallel::detail::set_default_float_mode();
  xla::Error* failure = nullptr;
  try {
    f(Call(frame));
  } catch (const std::invalid_argument& bad) {
    failure = error(frame, xla::ErrorCode::kInvalidArgument, bad.what());
  } catch (const std::bad_alloc&) {
    failure = error(frame, xla::ErrorCode::kResourceExhausted, "out of memory");
  } catch (const std::exception& other) {
    failure = error(frame, xla::ErrorCode::kInternal, other.what());
  }
  parallel::detail::restore_float_mode(mode);
  return failure;
}

} // namespace softstep::jax
