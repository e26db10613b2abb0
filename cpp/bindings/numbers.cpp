#include "bindings/numbers.hpp"

#include <cmath>

namespace softstep::bindings {

std::string type_text(const py::handle& object) {
  return py::str(py::type::handle_of(object).attr("__name__"));
}

double as_number(const py::handle& object, const char* name) {
  const double value = PyFloat_AsDouble(object.ptr());
  if (value == -1 && PyErr_Occurred()) {
    PyErr_Clear();
    throw py::type_error(std::string(name) + ": expected a number, got " + type_text(object));
  }
  return value;
}

std::int64_t as_integer(const py::handle& object, const char* name) {
  const py::ssize_t value = PyNumber_AsSsize_t(object.ptr(), PyExc_OverflowError);
  if (value == -1 && PyErr_Occurred()) {
    const bool overflows = PyErr_ExceptionMatches(PyExc_OverflowError);
    PyErr_Clear();
    if (overflows)
      throw py::value_error(std::string(name) + ": expected an integer of 64 bits, got " +
                            std::string(py::str(object)));
    throw py::type_error(std::string(name) + ": expected an integer, got " + type_text(object));
  }
  return value;
}

std::string_view as_text(const py::handle& object, const char* name) {
  if (!PyUnicode_Check(object.ptr()))
    throw py::type_error(std::string(name) + ": expected a string, got " + type_text(object));
  Py_ssize_t size = 0;
  const char* text = PyUnicode_AsUTF8AndSize(object.ptr(), &size);
  if (!text)
    throw py::error_already_set();
  return {text, static_cast<std::size_t>(size)};
}

bool as_flag(const py::handle& object, const char* name) {
  // Of a text everything but the empty one is true, "False" too.
  if (object.is_none() || PyUnicode_Check(object.ptr()) || PyBytes_Check(object.ptr()))
    throw py::type_error(std::string(name) + ": expected True or False, got " + type_text(object));
  const int truth = PyObject_IsTrue(object.ptr());
  if (truth < 0)
    throw py::error_already_set();
  return truth != 0;
}

std::string number_text(double value) { return py::str(py::float_(value)); }

double as_above_zero(const py::handle& object, const char* name, bool infinite) {
  const double value = as_number(object, name);
  if (!(value > 0 && (infinite || std::isfinite(value))))
    throw py::value_error(std::string(name) + ": expected a " + (infinite ? "" : "finite ") +
                          "number above 0, got " + number_text(value));
  return value;
}

double as_temperature(const py::handle& object) {
  const double temperature = as_number(object, "temperature");
  // Beyond these, 1 / temperature is not a normal float32.
  if (!(temperature >= 1e-30 && temperature <= 1e30))
    throw py::value_error("temperature: expected a number above 0 (in [1e-30, 1e30]), got " +
                          number_text(temperature));
  return temperature;
}

} // namespace softstep::bindings
