// A function that Python calls with its arguments where they lie (vectorcall): what pybind11 puts
// between takes longer than a small kernel.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstddef>
#include <new>
#include <string>

namespace softstep::bindings {

namespace py = pybind11;

// The arguments of a call by their names; null where there is none.
template <std::size_t N> class Arguments {
public:
  using Names = std::array<PyObject*, N>; // interned strings

  Arguments(const Names& names, PyObject* const* values, Py_ssize_t by_position,
            PyObject* keywords) {
    if (static_cast<std::size_t>(by_position) > N)
      throw py::type_error("expected at most " + std::to_string(N) + " arguments, got " +
                           std::to_string(by_position));
    std::size_t next = 0;
    for (; next < static_cast<std::size_t>(by_position); ++next)
      values_[next] = values[next];
    const Py_ssize_t named = keywords ? PyTuple_GET_SIZE(keywords) : 0;
    for (Py_ssize_t k = 0; k < named; ++k) {
      next = place_of(names, PyTuple_GET_ITEM(keywords, k), next) + 1;
      if (values_[next - 1])
        throw py::type_error("got two values for argument " + text(names[next - 1]));
      values_[next - 1] = values[by_position + k];
    }
  }

  PyObject* operator[](std::size_t place) const { return values_[place]; }
  py::handle required(const Names& names, std::size_t place) const {
    if (!values_[place])
      throw py::type_error("missing argument " + text(names[place]));
    return values_[place];
  }
  const std::array<PyObject*, N>& all() const { return values_; }

private:
  std::array<PyObject*, N> values_{};

  static std::string text(PyObject* name) { return py::str(py::handle(name)); }

  // Names are looked for from where they would be in order.
  static std::size_t place_of(const Names& names, PyObject* name, std::size_t from) {
    for (std::size_t k = 0; k < N; ++k)
      if (const std::size_t place = (from + k) % N; names[place] == name)
        return place;
    for (std::size_t place = 0; place < N; ++place) // equal, but not interned
      if (PyUnicode_Compare(names[place], name) == 0)
        return place;
    throw py::type_error("got an unexpected argument " + text(name));
  }
};

// For as long as the process lives.
template <std::size_t N>
typename Arguments<N>::Names interned_names(const std::array<const char*, N>& names) {
  typename Arguments<N>::Names result;
  for (std::size_t k = 0; k < N; ++k)
    result[k] = PyUnicode_InternFromString(names[k]);
  return result;
}

// Runs f and hands what it throws over to Python, as pybind11 does.
template <class F> PyObject* to_python(F f) {
  try {
    return f().release().ptr();
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

using FastCall = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);

inline void define(py::module_& m, const char* name, FastCall function, const char* doc) {
  // The module, which is never unloaded, keeps a pointer to it.
  auto* methods = new PyMethodDef[2]{
      {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function)),
       METH_FASTCALL | METH_KEYWORDS, doc},
      {}};
  if (PyModule_AddFunctions(m.ptr(), methods) != 0)
    throw py::error_already_set();
}

} // namespace softstep::bindings
