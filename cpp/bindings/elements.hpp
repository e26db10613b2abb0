// NumPy arrays of one shape as operands of an element-wise problem.
#pragma once

#include "bindings/arrays.hpp"
#include "ops/elements.hpp"

#include <array>
#include <cstddef>

namespace softstep::bindings {

// An input that must have the dtype of another argument: a mismatch is an oversight, and converting
// would cost more than the kernel.
inline py::array as_same_dtype(const py::handle& object, const char* name, const py::array& other) {
  py::array array = as_float_input(object, name);
  if (dtype_of(array) != dtype_of(other))
    throw py::type_error(std::string(name) + ": expected " + dtype_text(other) + ", got " +
                         dtype_text(array));
  return array;
}

// The first array gives the shape; null pointers are arrays that the problem does not have.
template <class T, std::size_t N>
ops::Elements<T, N> elements_of(const std::array<const py::array*, N>& arrays,
                                const std::array<ops::Access, N>& access) {
  typename ops::Elements<T, N>::Pointers data{};
  for (std::size_t k = 0; k < N; ++k)
    if (arrays[k])
      data[k] = static_cast<T*>(const_cast<void*>(arrays[k]->data()));
  ops::Elements<T, N> elements(data, access);
  for (py::ssize_t d = 0; d < arrays[0]->ndim(); ++d) {
    typename ops::Elements<T, N>::Strides strides{};
    for (std::size_t k = 0; k < N; ++k)
      if (arrays[k])
        strides[k] = arrays[k]->strides(d) / static_cast<py::ssize_t>(sizeof(T));
    elements.add_dimension(arrays[0]->shape(d), strides);
  }
  elements.coalesce();
  return elements;
}

} // namespace softstep::bindings
