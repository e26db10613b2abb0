// softmax, log_softmax, logsumexp, entropy and their gradients, of NumPy arrays.
#include "ops/softmax.hpp"
#include "bindings/arrays.hpp"
#include "bindings/gil.hpp"

#include <optional>

namespace softstep::bindings {
namespace {

using ops::SoftmaxOp;

// A boolean array of the shape of x, or nothing.
std::optional<py::array> as_mask(const py::object& object, const py::array& x) {
  if (object.is_none())
    return std::nullopt;
  const py::array mask = as_numpy(object, "where");
  if (mask.dtype().kind() != 'b')
    throw py::type_error("where: expected a boolean array, got " + dtype_text(mask));
  require_shape(mask, "where", shape_of(x));
  return mask;
}
const py::array* pointer(const std::optional<py::array>& array) {
  return array ? &*array : nullptr;
}

// softmax, log_softmax: one result for each class. Classes where the mask is false count as -inf
// and have the probability 0.
py::array map_classes(SoftmaxOp op, const py::object& logits, const py::object& axis_arg,
                      const py::object& temperature_arg, const py::object& out,
                      const py::object& where) {
  const py::array x = as_any_float_input(logits, "x");
  const py::ssize_t axis = as_axis(axis_arg, x, "x");
  const double temperature = as_temperature(temperature_arg);
  const std::optional<py::array> mask = as_mask(where, x);
  const py::array y = out.is_none() ? new_array(shape_of(x), x) : as_output(out, "out", x);
  refuse_overlap(y, "out", x, "x");
  if (mask)
    refuse_overlap(y, "out", *mask, "where", false);
  with_storage(x, [&](auto type) {
    using S = decltype(type);
    auto problem = row_problem<S>(axis, x, nullptr, &y, pointer(mask));
    problem.masked_first = ops::negative_infinity<S>();
    problem.masked_output = op == SoftmaxOp::kSoftmax ? S{} : ops::negative_infinity<S>();
    const GilReleased unlocked;
    ops::softmax_family<S>(op, problem, nullptr, temperature);
  });
  return y;
}

// logsumexp, entropy: one result for each row.
py::array reduce_classes(SoftmaxOp op, const py::object& logits, const py::object& axis_arg,
                         const py::object& temperature_arg, const py::object& where) {
  const py::array x = as_any_float_input(logits, "x");
  const py::ssize_t axis = as_axis(axis_arg, x, "x");
  const double temperature = as_temperature(temperature_arg);
  const std::optional<py::array> mask = as_mask(where, x);
  const py::array result = new_array(without_axis(shape_of(x), axis), x);
  with_storage(x, [&](auto type) {
    using S = decltype(type);
    auto problem = row_problem<S>(axis, x, nullptr, nullptr, pointer(mask));
    problem.masked_first = ops::negative_infinity<S>();
    S* row_result = data_of<S>(result);
    const GilReleased unlocked;
    ops::softmax_family<S>(op, problem, row_result, temperature);
  });
  return result;
}

// Classes where the mask is false have a probability of 0 and no gradient.
py::array backward(SoftmaxOp op, const py::object& upstream, const py::object& forward,
                   const py::object& axis_arg, const py::object& temperature_arg,
                   const py::object& out, const py::object& where) {
  const py::array y = as_any_float_input(forward, "y");
  const py::array dy = as_any_float_input(upstream, "dy");
  if (dtype_of(dy) != dtype_of(y))
    throw py::type_error("dy: expected " + dtype_text(y) + ", got " + dtype_text(dy));
  require_shape(dy, "dy", shape_of(y));
  const py::ssize_t axis = as_axis(axis_arg, y, "y");
  const double temperature = as_temperature(temperature_arg);
  const std::optional<py::array> mask = as_mask(where, y);
  const py::array dx = out.is_none() ? new_array(shape_of(y), y) : as_output(out, "out", y);
  refuse_overlap(dx, "out", y, "y");
  refuse_overlap(dx, "out", dy, "dy");
  if (mask)
    refuse_overlap(dx, "out", *mask, "where", false);
  with_storage(y, [&](auto type) {
    using S = decltype(type);
    auto problem = row_problem<S>(axis, y, &dy, &dx, pointer(mask));
    problem.masked_first = op == SoftmaxOp::kSoftmaxBackward ? S{} : ops::negative_infinity<S>();
    const GilReleased unlocked;
    ops::softmax_family<S>(op, problem, nullptr, temperature);
  });
  return dx;
}

} // namespace

void register_softmax(py::module_& m) {
  const auto define_map = [&](const char* name, SoftmaxOp op) {
    m.def(
        name,
        [op](const py::object& x, const py::object& axis, const py::object& temperature,
             const py::object& out,
             const py::object& where) { return map_classes(op, x, axis, temperature, out, where); },
        py::arg("x"), py::arg("axis"), py::arg("temperature"), py::arg("out"), py::arg("where"));
  };
  const auto define_reduce = [&](const char* name, SoftmaxOp op) {
    m.def(
        name,
        [op](const py::object& x, const py::object& axis, const py::object& temperature,
             const py::object& where) { return reduce_classes(op, x, axis, temperature, where); },
        py::arg("x"), py::arg("axis"), py::arg("temperature"), py::arg("where"));
  };
  const auto define_backward = [&](const char* name, SoftmaxOp op) {
    m.def(
        name,
        [op](const py::object& dy, const py::object& y, const py::object& axis,
             const py::object& temperature, const py::object& out, const py::object& where) {
          return backward(op, dy, y, axis, temperature, out, where);
        },
        py::arg("dy"), py::arg("y"), py::arg("axis"), py::arg("temperature"), py::arg("out"),
        py::arg("where"));
  };
  define_map("softmax", SoftmaxOp::kSoftmax);
  define_map("log_softmax", SoftmaxOp::kLogSoftmax);
  define_reduce("logsumexp", SoftmaxOp::kLogSumExp);
  define_reduce("entropy", SoftmaxOp::kEntropy);
  define_backward("softmax_backward", SoftmaxOp::kSoftmaxBackward);
  define_backward("log_softmax_backward", SoftmaxOp::kLogSoftmaxBackward);
}

} // namespace softstep::bindings
