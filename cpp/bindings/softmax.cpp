#include "ops/softmax.hpp"
#include "bindings/arrays.hpp"

namespace softstep::bindings {
namespace {

using ops::SoftmaxOp;

// softmax, log_softmax: one result for each class.
py::array map_classes(SoftmaxOp op, const py::object& logits, const py::object& axis_arg,
                      const py::object& temperature_arg, const py::object& out) {
  const py::array x = as_float_input(logits, "x");
  const py::ssize_t axis = as_axis(axis_arg, x, "x");
  const double temperature = as_temperature(temperature_arg);
  const py::array y = out.is_none() ? new_array(shape_of(x), x) : as_output(out, "out", x);
  refuse_overlap(y, "out", x, "x");
  with_type(x, [&](auto type) {
    using T = decltype(type);
    const auto problem = row_problem<T>(axis, x, nullptr, &y);
    py::gil_scoped_release unlocked;
    ops::softmax_family<T>(op, problem, nullptr, temperature);
  });
  return y;
}

// logsumexp, entropy: one result for each row.
py::array reduce_classes(SoftmaxOp op, const py::object& logits, const py::object& axis_arg,
                         const py::object& temperature_arg) {
  const py::array x = as_float_input(logits, "x");
  const py::ssize_t axis = as_axis(axis_arg, x, "x");
  const double temperature = as_temperature(temperature_arg);
  const py::array result = new_array(without_axis(shape_of(x), axis), x);
  with_type(x, [&](auto type) {
    using T = decltype(type);
    const auto problem = row_problem<T>(axis, x, nullptr, nullptr);
    T* row_result = static_cast<T*>(const_cast<void*>(result.data()));
    py::gil_scoped_release unlocked;
    ops::softmax_family<T>(op, problem, row_result, temperature);
  });
  return result;
}

py::array backward(SoftmaxOp op, const py::object& upstream, const py::object& forward,
                   const py::object& axis_arg, const py::object& temperature_arg,
                   const py::object& out) {
  const py::array y = as_float_input(forward, "y");
  const py::array dy = as_float_input(upstream, "dy");
  if (dtype_of(dy) != dtype_of(y))
    throw py::type_error("dy: expected " + dtype_text(y) + ", got " + dtype_text(dy));
  require_shape(dy, "dy", shape_of(y));
  const py::ssize_t axis = as_axis(axis_arg, y, "y");
  const double temperature = as_temperature(temperature_arg);
  const py::array dx = out.is_none() ? new_array(shape_of(y), y) : as_output(out, "out", y);
  refuse_overlap(dx, "out", y, "y");
  refuse_overlap(dx, "out", dy, "dy");
  with_type(y, [&](auto type) {
    using T = decltype(type);
    const auto problem = row_problem<T>(axis, y, &dy, &dx);
    py::gil_scoped_release unlocked;
    ops::softmax_family<T>(op, problem, nullptr, temperature);
  });
  return dx;
}

} // namespace

void register_softmax(py::module_& m) {
  const auto define_map = [&](const char* name, SoftmaxOp op) {
    m.def(
        name,
        [op](const py::object& x, const py::object& axis, const py::object& temperature,
             const py::object& out) { return map_classes(op, x, axis, temperature, out); },
        py::arg("x"), py::arg("axis"), py::arg("temperature"), py::arg("out"));
  };
  const auto define_reduce = [&](const char* name, SoftmaxOp op) {
    m.def(
        name,
        [op](const py::object& x, const py::object& axis, const py::object& temperature) {
          return reduce_classes(op, x, axis, temperature);
        },
        py::arg("x"), py::arg("axis"), py::arg("temperature"));
  };
  const auto define_backward = [&](const char* name, SoftmaxOp op) {
    m.def(
        name,
        [op](const py::object& dy, const py::object& y, const py::object& axis,
             const py::object& temperature,
             const py::object& out) { return backward(op, dy, y, axis, temperature, out); },
        py::arg("dy"), py::arg("y"), py::arg("axis"), py::arg("temperature"), py::arg("out"));
  };
  define_map("softmax", SoftmaxOp::kSoftmax);
  define_map("log_softmax", SoftmaxOp::kLogSoftmax);
  define_reduce("logsumexp", SoftmaxOp::kLogSumExp);
  define_reduce("entropy", SoftmaxOp::kEntropy);
  define_backward("softmax_backward", SoftmaxOp::kSoftmaxBackward);
  define_backward("log_softmax_backward", SoftmaxOp::kLogSoftmaxBackward);
}

} // namespace softstep::bindings
