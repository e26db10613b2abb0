#include "bindings/arrays.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace softstep::bindings {
namespace {

// NumPy's numbers of its types are part of its ABI.
constexpr int kNumpyFloat = 11, kNumpyDouble = 12, kNumpyHalf = 23;

bool native(const py::dtype& dtype) {
  const char order = dtype.byteorder();
  return order == '=' || order == '|';
}

bool is_float(const py::array& array) {
  const int number = array.dtype().num();
  return number == kNumpyFloat || number == kNumpyDouble;
}

// The bits of bfloat16 as a structure of one uint16 of that name, which needs no ml_dtypes.
bool is_bfloat16_bits(const py::dtype& dtype) {
  const py::object names = dtype.attr("names");
  return dtype.kind() == 'V' && dtype.itemsize() == 2 && !names.is_none() &&
         names.equal(py::make_tuple("bfloat16"));
}

// bfloat16 is ml_dtypes' type: known by its name.
bool is_half_float(const py::array& array) {
  const py::dtype dtype = array.dtype();
  if (dtype.num() == kNumpyHalf)
    return true;
  return dtype.itemsize() == 2 && dtype.kind() == 'V' &&
         (py::str(dtype.attr("name")).equal(py::str("bfloat16")) || is_bfloat16_bits(dtype));
}

// Kernels address whole elements.
bool element_addressed(const py::array& array) {
  const py::ssize_t size = array.itemsize();
  if (reinterpret_cast<std::uintptr_t>(array.data()) % static_cast<std::uintptr_t>(size) != 0)
    return false;
  for (py::ssize_t d = 0; d < array.ndim(); ++d)
    if (array.strides(d) % size != 0)
      return false;
  return true;
}

// What sees the arrays of other libraries: the package hands it over when it is imported.
PyObject* foreign_views = nullptr;

py::object foreign(const char* function) {
  if (!foreign_views)
    throw py::import_error("softstep._core is used without softstep");
  return py::handle(foreign_views).attr(function);
}

bool plain_array(const py::handle& object) {
  return Py_TYPE(object.ptr()) == py::detail::npy_api::get().PyArray_Type_;
}

// As far down as NumPy's arrays have dimensions.
bool has_mask(const py::handle& object, const py::handle& masked_array, int depth = 64) {
  if (!PyList_Check(object.ptr()) && !PyTuple_Check(object.ptr()))
    return !plain_array(object) && py::isinstance(object, masked_array);
  if (depth == 0)
    return false;
  for (const py::handle item : py::tuple(py::reinterpret_borrow<py::object>(object)))
    if (!PyFloat_CheckExact(item.ptr()) && !PyLong_CheckExact(item.ptr()) &&
        has_mask(item, masked_array, depth - 1))
      return true;
  return false;
}

py::array converted(const py::array& array, const py::dtype& dtype) {
  if (is_bfloat16_bits(array.dtype()) && !dtype.equal(array.dtype()))
    return py::array(foreign("widened")(array).attr("astype")(dtype));
  return py::array(array.attr("astype")(dtype, py::arg("order") = "C"));
}

} // namespace

void see_foreign_arrays(const py::object& views) {
  Py_XSETREF(foreign_views, py::object(views).release().ptr());
}

void refuse_masked(const py::handle& object, const std::string& name) {
  if (plain_array(object))
    return;
  const py::dict modules = py::module_::import("sys").attr("modules");
  if (!modules.contains("numpy.ma")) // then there is none
    return;
  if (has_mask(object, py::object(modules["numpy.ma"]).attr("MaskedArray")))
    throw py::type_error(name + ": expected an array without a mask, got a masked array, whose "
                                "mask would not be looked at; pass .filled(value) or .data, and "
                                "say what does not count by where, sample_weight or ignore_index");
}

py::object returned(const py::array& array) {
  return array.ndim() == 0 ? array.attr("__getitem__")(py::tuple()) : py::object(array);
}

py::array as_numpy(const py::handle& object, const char* name) {
  refuse_masked(object, name);
  if (py::isinstance<py::array>(object))
    return py::reinterpret_borrow<py::array>(object);
  if (py::hasattr(object, "__dlpack__"))
    return py::array(foreign("as_input")(object, name));
  py::array array = py::array::ensure(object);
  if (!array)
    throw py::type_error(std::string(name) + ": expected an array, got " + type_text(object));
  return array;
}

Bytes bytes_of(const py::array& array) {
  auto begin = reinterpret_cast<std::uintptr_t>(array.data());
  std::uintptr_t end = begin;
  for (py::ssize_t d = 0; d < array.ndim(); ++d) {
    if (array.shape(d) == 0)
      return {begin, begin};
    const py::ssize_t reach = (array.shape(d) - 1) * array.strides(d);
    (reach < 0 ? begin : end) += static_cast<std::uintptr_t>(reach);
  }
  return {begin, end + static_cast<std::uintptr_t>(array.itemsize())};
}

bool overlaps_itself(const py::array& array) {
  if (array.size() == 0)
    return false;
  std::vector<py::ssize_t> order;
  for (py::ssize_t d = 0; d < array.ndim(); ++d)
    if (array.shape(d) > 1)
      order.push_back(d);
  const auto stride = [&](py::ssize_t d) { return std::abs(array.strides(d)); };
  std::sort(order.begin(), order.end(),
            [&](py::ssize_t a, py::ssize_t b) { return stride(a) < stride(b); });
  py::ssize_t reach = array.itemsize();
  for (const py::ssize_t d : order) {
    if (stride(d) < reach)
      return true;
    reach += (array.shape(d) - 1) * stride(d);
  }
  return false;
}

namespace {
py::array as_input(const py::handle& object, const char* name, bool halves, const char* expected) {
  py::array array = as_numpy(object, name);
  if (is_float(array) || (halves && is_half_float(array))) {
    if (native(array.dtype()) && element_addressed(array))
      return array;
    return converted(array, py::dtype(array.dtype().attr("newbyteorder")("=")));
  }
  const char kind = array.dtype().kind();
  if (kind != 'i' && kind != 'u' && kind != 'b')
    throw py::type_error(std::string(name) + ": expected " + expected + ", got " +
                         dtype_text(array));
  return converted(array, py::dtype::of<double>());
}
} // namespace

py::array as_float_input(const py::handle& object, const char* name) {
  return as_input(object, name, false, "float32 or float64");
}

py::array as_any_float_input(const py::handle& object, const char* name) {
  return as_input(object, name, true, "float16, bfloat16, float32 or float64");
}

py::array as_compute_input(const py::handle& object, const char* name, const py::dtype& dtype) {
  py::array array = as_any_float_input(object, name);
  if (array.dtype().num() == dtype.num() && (array.flags() & py::array::c_style))
    return array;
  return converted(array, dtype);
}

py::array as_input_like(const py::handle& object, const char* name, const py::array& other) {
  py::array array = as_float_input(object, name);
  if (dtype_of(array) == dtype_of(other))
    return array;
  return converted(array, other.dtype());
}

py::array as_output(const py::handle& object, const char* name, const py::array& like) {
  const std::string prefix = std::string(name) + ": ";
  const bool is_numpy = py::isinstance<py::array>(object);
  if (!is_numpy && !py::hasattr(object, "__dlpack__") &&
      !py::hasattr(object, "__array_interface__"))
    throw py::type_error(prefix + "expected a NumPy array, got " + type_text(object));
  refuse_masked(object, name);
  py::array array = is_numpy ? py::reinterpret_borrow<py::array>(object)
                             : py::array(foreign("as_output")(object, name));
  if (!is_native_float(array) || dtype_of(array) != dtype_of(like))
    throw py::type_error(prefix + "expected " + dtype_text(like) + ", got " + dtype_text(array));
  require_shape(array, name, shape_of(like));
  if (!array.writeable())
    throw py::value_error(prefix + "expected a writeable array, got a read-only one");
  if (!element_addressed(array))
    throw py::value_error(prefix + "expected an aligned array, got a misaligned one");
  if (overlaps_itself(array))
    throw py::value_error(prefix + "expected an array whose elements have memory of their own, got "
                                   "overlapping ones (a broadcast view?)");
  return array;
}

std::string dtype_text(const py::array& array) { return py::str(array.dtype()); }

bool is_native_float(const py::array& array) {
  return (is_float(array) || is_half_float(array)) && native(array.dtype());
}

DType dtype_of(const py::dtype& dtype) {
  switch (dtype.num()) {
  case kNumpyFloat:
    return DType::kFloat32;
  case kNumpyDouble:
    return DType::kFloat64;
  case kNumpyHalf:
    return DType::kFloat16;
  default:
    return DType::kBFloat16;
  }
}

std::vector<py::ssize_t> shape_of(const py::array& array) {
  return {array.shape(), array.shape() + array.ndim()};
}

std::string shape_text(const std::vector<py::ssize_t>& shape) {
  std::string text = "(";
  for (std::size_t d = 0; d < shape.size(); ++d)
    text += (d ? ", " : "") + std::to_string(shape[d]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

void require_shape(const py::array& array, const char* name,
                   const std::vector<py::ssize_t>& expected) {
  if (shape_of(array) != expected)
    throw py::value_error(std::string(name) + ": expected shape " + shape_text(expected) +
                          ", got " + shape_text(shape_of(array)));
}

void refuse_overlap(const py::array& output, const char* output_name, const py::array& input,
                    const char* input_name, bool in_place) {
  const Bytes a = bytes_of(output), b = bytes_of(input);
  if (a.begin >= b.end || b.begin >= a.end || a.begin == a.end || b.begin == b.end)
    return;
  const bool same = in_place && output.data() == input.data() &&
                    shape_of(output) == shape_of(input) && output.itemsize() == input.itemsize() &&
                    std::equal(output.strides(), output.strides() + output.ndim(), input.strides());
  if (!same)
    throw py::value_error(std::string(output_name) + ": overlaps " + input_name +
                          (in_place ? " without being the same array" : ""));
}

py::ssize_t as_axis(const py::handle& object, const py::array& array, const char* name) {
  const py::ssize_t axis = as_integer(object, "axis");
  const py::ssize_t ndim = array.ndim();
  if (axis < -ndim || axis >= ndim)
    throw py::value_error("axis: expected a dimension of " + std::string(name) + " with shape " +
                          shape_text(shape_of(array)) + ", got " + std::to_string(axis));
  return axis < 0 ? axis + ndim : axis;
}

std::vector<py::ssize_t> without_axis(const std::vector<py::ssize_t>& shape, py::ssize_t axis) {
  std::vector<py::ssize_t> rest = shape;
  rest.erase(rest.begin() + axis);
  return rest;
}

} // namespace softstep::bindings
