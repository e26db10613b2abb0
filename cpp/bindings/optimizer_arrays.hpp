// The arrays of an optimizer: parameters, states, gradients; what each must be, and that no two of
// which one is written share memory.
#pragma once

#include "bindings/arrays.hpp"
#include "ops/optimizer.hpp"

#include <string>
#include <vector>

namespace softstep::bindings {

// An item of a list as the user knows it: "params[3]".
std::string name_of(const char* list, std::size_t index);

// bfloat16 is ml_dtypes', or uint16 where that is agreed on.
ops::Storage storage_of(const py::handle& object, const std::string& name, bool bfloat16_bits);

// An array that is written: of the shape given, in memory of its own, of any alignment.
py::array as_written(const py::handle& object, const std::string& name,
                     const std::vector<py::ssize_t>& shape);

// The address and layout of an array that has been checked, to see quickly that it is still so.
class Known {
public:
  Known() = default;
  explicit Known(const py::array& array);

  bool holds(PyObject* object) const { return same_kind(object) && data_of(object) == data_; }
  bool same_kind(PyObject* object) const; // the address apart
  static bool writeable(PyObject* object);
  static char* data_of(PyObject* object);
  char* data() const { return data_; }
  void move_to(char* data) { data_ = data; }

private:
  char* data_ = nullptr;
  PyTypeObject* type_ = nullptr; // only compared: a subclass may mean other values
  py::object dtype_;
  std::vector<py::ssize_t> shape_strides_;
};

struct NamedArray {
  py::array array;
  const char* list;
  std::size_t index;
  bool written;
};

// Throws for two arrays with a common element, if one of them is written.
void refuse_overlaps(const std::vector<NamedArray>& arrays);

// The arrays that every step writes, ordered, so that a gradient is soon compared with all.
class WrittenMemory {
public:
  explicit WrittenMemory(std::vector<NamedArray> arrays);
  void refuse_overlap(const py::array& grad, std::size_t index) const;
  const std::vector<NamedArray>& arrays() const { return arrays_; }

private:
  struct Interval {
    Bytes bytes;
    std::uintptr_t reach; // the largest end up to here
    std::size_t array;
  };
  std::vector<NamedArray> arrays_;
  std::vector<Interval> intervals_;
};

} // namespace softstep::bindings
