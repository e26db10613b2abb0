// The part of XLA's foreign function interface that the handlers use, in our own words, so that no
// build needs jaxlib and one build serves every version of it. XLA has kept these layouts from its
// version 0.1 (jaxlib 0.6) on; tests/jax/test_xla_abi.py holds each offset, size and number against
// the headers of the jaxlib that is installed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace softstep::jax::xla {

// The version that a handler says it was made for: XLA takes those up to its own.
constexpr int kMajorVersion = 0, kMinorVersion = 1;

enum ExtensionKind : int { kMetadataExtension = 1 };
struct Extension {
  std::size_t struct_size;
  ExtensionKind kind;
  Extension* next;
};

struct Version {
  std::size_t struct_size;
  Extension* extensions;
  int major, minor;
};

// What XLA asks of a handler before the first call.
struct Metadata {
  std::size_t struct_size;
  Version version;
  std::uint32_t traits;
};
struct MetadataExtension {
  Extension base;
  Metadata* metadata;
};

enum class Type : int {
  kBool = 1,
  kInt8 = 2,
  kInt16 = 3,
  kInt32 = 4,
  kInt64 = 5,
  kUInt8 = 6,
  kUInt16 = 7,
  kUInt32 = 8,
  kUInt64 = 9,
  kFloat16 = 10,
  kFloat32 = 11,
  kFloat64 = 12,
  kBFloat16 = 16,
};

struct Buffer {
  std::size_t struct_size;
  Extension* extensions;
  Type type;
  void* data;
  std::int64_t dimensions;
  std::int64_t* shape;
};

// Arguments or results.
enum class OperandKind : int { kBuffer = 1 };
struct Operands {
  std::size_t struct_size;
  Extension* extensions;
  std::int64_t size;
  OperandKind* kinds;
  void** values;
};

struct Span {
  const char* data;
  std::size_t size;
};
struct Scalar {
  Type type;
  void* value;
};
enum class AttributeKind : int { kScalar = 3 };
struct Attributes {
  std::size_t struct_size;
  Extension* extensions;
  std::int64_t size;
  AttributeKind* kinds;
  Span** names;
  void** values;
};

enum class ErrorCode : int { kInvalidArgument = 3, kResourceExhausted = 8, kInternal = 13 };
struct Error; // XLA's
struct ErrorArguments {
  std::size_t struct_size;
  Extension* extensions;
  const char* message;
  ErrorCode code;
};

// Its first members.
struct Api {
  std::size_t struct_size;
  Extension* extensions;
  Version version;
  const void* internal;
  Error* (*create_error)(ErrorArguments*);
};

struct CallFrame {
  std::size_t struct_size;
  Extension* extensions;
  const Api* api;
  void* context;
  int stage;
  Operands arguments, results;
  Attributes attributes;
};

} // namespace softstep::jax::xla
