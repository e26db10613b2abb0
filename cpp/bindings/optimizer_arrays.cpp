#include "bindings/optimizer_arrays.hpp"

#include <algorithm>

namespace softstep::bindings {
namespace {

using ops::Storage;

// Exact where the bounds of strided views interleave; a problem too hard to solve counts as
// overlap.
bool share_memory(const py::array& a, const py::array& b) {
  const py::module_ numpy = py::module_::import("numpy");
  try {
    return numpy.attr("shares_memory")(a, b, py::arg("max_work") = 100'000).cast<bool>();
  } catch (py::error_already_set& error) {
    if (error.matches(PyExc_RuntimeError)) // numpy.exceptions.TooHardError
      return true;
    throw;
  }
}

void refuse_if_shared(const NamedArray& a, const NamedArray& b) {
  if ((a.written || b.written) && share_memory(a.array, b.array))
    throw py::value_error(name_of(b.list, b.index) + ": overlaps " + name_of(a.list, a.index) +
                          " in memory");
}

const py::detail::PyArray_Proxy* proxy(PyObject* object) { return py::detail::array_proxy(object); }

} // namespace

std::string name_of(const char* list, std::size_t index) {
  return std::string(list) + "[" + std::to_string(index) + "]";
}

Storage storage_of(const py::handle& object, const std::string& name, bool bfloat16_bits) {
  if (!py::isinstance<py::array>(object))
    throw py::type_error(name + ": expected a NumPy array, got " +
                         std::string(py::str(py::type::handle_of(object).attr("__name__"))));
  refuse_masked(object, name);
  const auto array = py::reinterpret_borrow<py::array>(object);
  if (bfloat16_bits && py::isinstance<py::array_t<std::uint16_t>>(object))
    return Storage::kBFloat16;
  if (is_native_float(array))
    switch (dtype_of(array)) {
    case DType::kFloat32:
      return Storage::kFloat32;
    case DType::kFloat64:
      return Storage::kFloat64;
    case DType::kFloat16:
      return Storage::kFloat16;
    case DType::kBFloat16:
      return Storage::kBFloat16;
    }
  throw py::type_error(name + ": expected float32, float64, float16 or bfloat16, got " +
                       dtype_text(array));
}

py::array as_written(const py::handle& object, const std::string& name,
                     const std::vector<py::ssize_t>& shape) {
  const auto array = py::reinterpret_borrow<py::array>(object);
  require_shape(array, name.c_str(), shape);
  if (!array.writeable())
    throw py::value_error(name + ": expected a writeable array, got a read-only one");
  for (py::ssize_t d = 0; d < array.ndim(); ++d)
    if (array.strides(d) % array.itemsize() != 0)
      throw py::value_error(name + ": expected strides that are multiples of the item size " +
                            std::to_string(array.itemsize()) + ", got " +
                            std::to_string(array.strides(d)));
  if (overlaps_itself(array))
    throw py::value_error(name + ": expected an array whose elements have memory of their own, "
                                 "got overlapping ones (a broadcast view?)");
  return array;
}

Known::Known(const py::array& array)
    : data_(data_of(array.ptr())), type_(Py_TYPE(array.ptr())), dtype_(array.dtype()) {
  shape_strides_.assign(array.shape(), array.shape() + array.ndim());
  shape_strides_.insert(shape_strides_.end(), array.strides(), array.strides() + array.ndim());
}

char* Known::data_of(PyObject* object) { return proxy(object)->data; }

bool Known::same_kind(PyObject* object) const {
  if (Py_TYPE(object) != type_)
    return false;
  const auto* array = proxy(object);
  const auto ndim = static_cast<std::size_t>(array->nd);
  return array->descr == dtype_.ptr() && 2 * ndim == shape_strides_.size() &&
         std::equal(array->dimensions, array->dimensions + ndim, shape_strides_.data()) &&
         std::equal(array->strides, array->strides + ndim, shape_strides_.data() + ndim);
}

bool Known::writeable(PyObject* object) {
  return (proxy(object)->flags & py::detail::npy_api::NPY_ARRAY_WRITEABLE_) != 0;
}

void refuse_overlaps(const std::vector<NamedArray>& arrays) {
  struct Interval {
    Bytes bytes;
    std::size_t array;
  };
  std::vector<Interval> intervals;
  intervals.reserve(arrays.size());
  for (std::size_t k = 0; k < arrays.size(); ++k)
    if (arrays[k].array.size() > 0)
      intervals.push_back({bytes_of(arrays[k].array), k});
  std::sort(intervals.begin(), intervals.end(),
            [](const Interval& a, const Interval& b) { return a.bytes.begin < b.bytes.begin; });
  for (std::size_t i = 0; i < intervals.size(); ++i)
    for (std::size_t j = i + 1;
         j < intervals.size() && intervals[j].bytes.begin < intervals[i].bytes.end; ++j) {
      const auto [first, later] = std::minmax(intervals[i].array, intervals[j].array);
      refuse_if_shared(arrays[first], arrays[later]);
    }
}

WrittenMemory::WrittenMemory(std::vector<NamedArray> arrays) : arrays_(std::move(arrays)) {
  refuse_overlaps(arrays_);
  for (std::size_t k = 0; k < arrays_.size(); ++k)
    if (arrays_[k].array.size() > 0)
      intervals_.push_back({bytes_of(arrays_[k].array), 0, k});
  std::sort(intervals_.begin(), intervals_.end(),
            [](const Interval& a, const Interval& b) { return a.bytes.begin < b.bytes.begin; });
  std::uintptr_t reach = 0;
  for (Interval& interval : intervals_)
    interval.reach = reach = std::max(reach, interval.bytes.end);
}

void WrittenMemory::refuse_overlap(const py::array& grad, std::size_t index) const {
  if (grad.size() == 0)
    return;
  const Bytes bytes = bytes_of(grad);
  auto at = std::partition_point(intervals_.begin(), intervals_.end(),
                                 [&](const Interval& i) { return i.bytes.begin < bytes.end; });
  while (at != intervals_.begin() && (--at)->reach > bytes.begin)
    if (at->bytes.end > bytes.begin)
      refuse_if_shared(arrays_[at->array], {grad, "grads", index, false});
}

} // namespace softstep::bindings
