// NumPy arrays as the operations see them: dtype, shape, strides, overlap, and errors that name the
// argument. Nothing is computed here.
#pragma once

#include "bindings/numbers.hpp"
#include "ops/rows.hpp"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <vector>

namespace softstep::bindings {

enum class DType { kFloat32, kFloat64, kFloat16, kBFloat16 };

// Takes softstep._foreign, which has as_input, as_output and widened.
void see_foreign_arrays(const py::object& views);

// A NumPy array as it is, a view of another library's array in CPU memory, or what NumPy makes of
// the object. Masked arrays are refused, also in lists.
py::array as_numpy(const py::handle& object, const char* name);
void refuse_masked(const py::handle& object, const std::string& name);

// What a function returns: NumPy's scalar for an array without dimensions.
py::object returned(const py::array& array);

// An array argument that is only read: any object that NumPy can turn into an array. Integers
// become float64. Arrays that the kernels cannot read in place (misaligned, other byte order) are
// copied.
py::array as_float_input(const py::handle& object, const char* name);

// The same, but float16 and (ml_dtypes') bfloat16 arrays are taken as they are.
py::array as_any_float_input(const py::handle& object, const char* name);

// A C-contiguous array of this dtype, float32 or float64, copied if needed.
py::array as_compute_input(const py::handle& object, const char* name, const py::dtype& dtype);

// The same, turned into the dtype of another argument.
py::array as_input_like(const py::handle& object, const char* name, const py::array& other);

// Row numbers and sums that are only read: aligned and adjacent, or else copied.
template <class T>
using Numbers = py::array_t<T, py::array::c_style | py::array::forcecast |
                                   py::detail::npy_api::NPY_ARRAY_ALIGNED_>;
using RowNumbers = Numbers<std::int64_t>;

// Whether its elements can be read and written where they are.
inline bool is_aligned(const py::array& array) {
  return (array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0;
}

// An array that is written: never copied, so it must be exactly right.
py::array as_output(const py::handle& object, const char* name, const py::array& like);

bool is_native_float(const py::array& array); // a dtype that is computed with as it lies
DType dtype_of(const py::dtype& dtype);
inline DType dtype_of(const py::array& array) { return dtype_of(array.dtype()); }
std::string dtype_text(const py::array& array);

std::vector<py::ssize_t> shape_of(const py::array& array);
std::string shape_text(const std::vector<py::ssize_t>& shape);
void require_shape(const py::array& array, const char* name,
                   const std::vector<py::ssize_t>& expected);

// Where an array lies; nothing if it has no elements.
struct Bytes {
  std::uintptr_t begin, end;
};
Bytes bytes_of(const py::array& array);

// Conservative, exact for every array that slicing and transposing can make.
bool overlaps_itself(const py::array& array);

// Refuses an output that shares memory with an input; with in_place, unless it is that very array.
void refuse_overlap(const py::array& output, const char* output_name, const py::array& input,
                    const char* input_name, bool in_place = true);

// axis in [0, ndim).
py::ssize_t as_axis(const py::handle& axis, const py::array& array, const char* name);

std::vector<py::ssize_t> without_axis(const std::vector<py::ssize_t>& shape, py::ssize_t axis);

// A fresh C-contiguous array (result_memory.cpp).
py::array new_array(const std::vector<py::ssize_t>& shape, const py::array& like);

// Element strides and class stride of an array as an operand of a row problem.
template <class T> ops::Operand<T> operand(const py::array& array, py::ssize_t axis) {
  ops::Operand<T> o;
  o.data = static_cast<T*>(const_cast<void*>(array.data()));
  o.class_stride = array.strides(axis) / static_cast<py::ssize_t>(sizeof(T));
  for (py::ssize_t d = 0; d < array.ndim(); ++d)
    if (d != axis)
      o.strides.push_back(array.strides(d) / static_cast<py::ssize_t>(sizeof(T)));
  return o;
}

// `first` gives the shape; null pointers are operands that the problem does not have.
template <class S, class Q = S>
ops::RowProblem<S, Q> row_problem(py::ssize_t axis, const py::array& first, const py::array* second,
                                  const py::array* output, const py::array* mask = nullptr) {
  ops::RowProblem<S, Q> problem;
  problem.cols = first.shape(axis);
  for (py::ssize_t d = 0; d < first.ndim(); ++d) {
    if (d == axis)
      continue;
    problem.shape.push_back(first.shape(d));
    problem.rows *= first.shape(d);
  }
  problem.first = operand<S>(first, axis);
  if (second)
    problem.second = operand<Q>(*second, axis);
  if (output)
    problem.output = operand<S>(*output, axis);
  if (mask)
    problem.mask = operand<std::uint8_t>(*mask, axis);
  problem.coalesce();
  return problem;
}

// Calls f(T{}) with the element type of a float32 or float64 array.
template <class F> decltype(auto) with_type(const py::array& array, F f) {
  return dtype_of(array) == DType::kFloat32 ? f(float{}) : f(double{});
}

// Calls f(S{}) with a storage type.
template <class F> decltype(auto) with_storage(DType dtype, F f) {
  switch (dtype) {
  case DType::kFloat16:
    return f(Float16{});
  case DType::kBFloat16:
    return f(BFloat16{});
  case DType::kFloat32:
    return f(float{});
  default:
    return f(double{});
  }
}

template <class F> decltype(auto) with_storage(const py::array& array, F f) {
  return with_storage(dtype_of(array), f);
}

template <class T> T* data_of(const py::array& array) {
  return static_cast<T*>(const_cast<void*>(array.data()));
}
inline bool is_half(const py::array& array) { return array.itemsize() == 2; }

// What results per row and sums have: float32 for half precision.
inline py::dtype compute_dtype(const py::dtype& dtype) {
  return dtype.itemsize() == 2 ? py::dtype::of<float>() : dtype;
}
inline py::dtype compute_dtype(const py::array& array) { return compute_dtype(array.dtype()); }

} // namespace softstep::bindings
