// Arguments that are numbers or text, with errors that name the argument.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace softstep::bindings {

namespace py = pybind11;

double as_number(const py::handle& object, const char* name);
std::int64_t as_integer(const py::handle& object, const char* name);
std::string_view as_text(const py::handle& object, const char* name); // as long as the object
bool as_flag(const py::handle& object, const char* name);
double as_above_zero(const py::handle& object, const char* name, bool infinite = false);
double as_temperature(const py::handle& object);

// As Python writes it, for errors.
std::string number_text(double value);
std::string type_text(const py::handle& object);

} // namespace softstep::bindings
