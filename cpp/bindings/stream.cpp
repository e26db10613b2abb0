// For the benchmarks: the memory streams that a roofline is measured by.
#include "ops/stream.hpp"
#include "bindings/arrays.hpp"
#include "bindings/gil.hpp"

namespace softstep::bindings {
namespace {

py::array contiguous(const py::array& array, const char* name) {
  if (!(array.flags() & py::array::c_style))
    throw py::value_error(std::string(name) + ": expected a C-contiguous array");
  return array;
}

py::array stream_input(const py::object& object, const char* name) {
  return contiguous(as_float_input(object, name), name);
}
py::array stream_output(const py::object& object, const char* name, const py::array& like) {
  return contiguous(as_output(object, name, like), name);
}

template <class T> T* data_of(const py::array& array) {
  return static_cast<T*>(const_cast<void*>(array.data()));
}

double read(const py::object& object) {
  const py::array x = stream_input(object, "x");
  return with_type(x, [&](auto type) {
    const auto* data = data_of<decltype(type)>(x);
    const py::ssize_t size = x.size();
    const GilReleased unlocked;
    return ops::stream_read(data, size);
  });
}

void scale(const py::object& object, double factor) {
  const py::array x = stream_output(object, "x", as_float_input(object, "x"));
  with_type(x, [&](auto type) {
    auto* data = data_of<decltype(type)>(x);
    const py::ssize_t size = x.size();
    const GilReleased unlocked;
    ops::stream_scale(data, size, factor);
  });
}

void copy(const py::object& to_object, const py::object& from_object) {
  const py::array from = stream_input(from_object, "source");
  const py::array to = stream_output(to_object, "to", from);
  refuse_overlap(to, "to", from, "source");
  with_type(from, [&](auto type) {
    using T = decltype(type);
    T* target = data_of<T>(to);
    const T* source = data_of<T>(from);
    const py::ssize_t size = from.size();
    const GilReleased unlocked;
    ops::stream_copy(target, source, size);
  });
}

void update(const py::object& a_object, const py::object& b_object, const py::object& c_object) {
  const py::array c = stream_input(c_object, "c");
  const py::array a = stream_output(a_object, "a", c), b = stream_output(b_object, "b", c);
  refuse_overlap(a, "a", b, "b", false);
  refuse_overlap(a, "a", c, "c", false);
  refuse_overlap(b, "b", c, "c", false);
  with_type(c, [&](auto type) {
    using T = decltype(type);
    T *first = data_of<T>(a), *second = data_of<T>(b);
    const T* third = data_of<T>(c);
    const py::ssize_t size = c.size();
    const GilReleased unlocked;
    ops::stream_update(first, second, third, size);
  });
}

} // namespace

void register_stream(py::module_& m) {
  m.def("stream_read", &read, py::arg("x"), "The sum of x: 1 stream.");
  m.def("stream_scale", &scale, py::arg("x"), py::arg("factor"), "x *= factor: 2 streams.");
  m.def("stream_copy", &copy, py::arg("to"), py::arg("source"), "to[:] = source: 2 streams.");
  m.def("stream_update", &update, py::arg("a"), py::arg("b"), py::arg("c"),
        "b += c; a -= b: 5 streams, as an SGD step with momentum.");
}

} // namespace softstep::bindings
