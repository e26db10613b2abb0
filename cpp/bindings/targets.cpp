#include "bindings/targets.hpp"
#include "bindings/gil.hpp"

#include "ops/targets.hpp"

#include <limits>

namespace softstep::bindings {
namespace {

std::string row_text(py::ssize_t row, const std::vector<py::ssize_t>& shape) {
  if (shape.size() <= 1)
    return std::to_string(row);
  std::vector<py::ssize_t> index(shape.size());
  for (std::size_t d = shape.size(); d-- > 0; row /= shape[d])
    index[d] = row % shape[d];
  return shape_text(index);
}

template <class F> decltype(auto) with_integer_type(const py::dtype& dtype, F f) {
  const bool is_signed = dtype.kind() == 'i';
  switch (dtype.itemsize()) {
  case 1:
    return is_signed ? f(std::int8_t{}) : f(std::uint8_t{}); // bool is read as uint8
  case 2:
    return is_signed ? f(std::int16_t{}) : f(std::uint16_t{});
  case 4:
    return is_signed ? f(std::int32_t{}) : f(std::uint32_t{});
  default:
    return is_signed ? f(std::int64_t{}) : f(std::uint64_t{});
  }
}

} // namespace

bool has_integer_dtype(const py::array& array) {
  const char kind = array.dtype().kind();
  return kind == 'i' || kind == 'u' || kind == 'b';
}

std::unique_ptr<std::int32_t[]> checked_targets(const py::array& target,
                                                std::optional<std::int64_t> ignore_index,
                                                py::ssize_t classes) {
  if (classes > std::numeric_limits<std::int32_t>::max())
    throw py::value_error("target: class indices need fewer than 2^31 classes, got " +
                          std::to_string(classes));
  const char order = target.dtype().byteorder();
  const bool plain = (target.flags() & py::array::c_style) && (order == '=' || order == '|') &&
                     reinterpret_cast<std::uintptr_t>(target.data()) %
                             static_cast<std::uintptr_t>(target.itemsize()) ==
                         0;
  const py::array rows =
      plain ? target
            : py::array(target.attr("astype")(target.dtype().attr("newbyteorder")("="),
                                              py::arg("order") = "C"));
  const py::ssize_t count = rows.size();
  std::unique_ptr<std::int32_t[]> checked(new std::int32_t[static_cast<std::size_t>(count)]);
  // Without an ignore_index, one that no class can have and no message names.
  constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::min();
  const ops::BadTarget bad = with_integer_type(rows.dtype(), [&](auto integer) {
    using Integer = decltype(integer);
    const auto* values = static_cast<const Integer*>(rows.data());
    const GilReleased unlocked;
    return ops::check_targets(checked.get(), values, count, classes, ignore_index.value_or(kNone));
  });
  if (bad.row >= 0)
    throw py::index_error(
        "target: row " + row_text(bad.row, shape_of(target)) + " has the value " + bad.value +
        ", expected a class in [0, " + std::to_string(classes) + ")" +
        (ignore_index ? " or ignore_index " + std::to_string(*ignore_index) : std::string()));
  return checked;
}

} // namespace softstep::bindings
