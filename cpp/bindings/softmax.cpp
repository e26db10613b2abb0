// softmax, log_softmax, logsumexp, entropy and their gradients, of NumPy arrays.
#include "ops/softmax.hpp"
#include "bindings/arrays.hpp"
#include "bindings/fastcall.hpp"
#include "bindings/gil.hpp"

#include <optional>

namespace softstep::bindings {
namespace {

using ops::SoftmaxOp;

// A boolean array of the shape of x, or nothing.
std::optional<py::array> as_mask(const py::handle& object, const py::array& x) {
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
py::array map_classes(SoftmaxOp op, const py::handle& logits, const py::handle& axis_arg,
                      const py::handle& temperature_arg, const py::handle& out,
                      const py::handle& where) {
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
py::array reduce_classes(SoftmaxOp op, const py::handle& logits, const py::handle& axis_arg,
                         const py::handle& temperature_arg, const py::handle& where) {
  const char* const name = op == SoftmaxOp::kEntropy ? "logits" : "x";
  const py::array x = as_any_float_input(logits, name);
  const py::ssize_t axis = as_axis(axis_arg, x, name);
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
py::array backward(SoftmaxOp op, const py::handle& upstream, const py::handle& forward,
                   const py::handle& axis_arg, const py::handle& temperature_arg,
                   const py::handle& out, const py::handle& where) {
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

// With the module.
Arguments<5>::Names map_names;
Arguments<4>::Names reduce_names;
Arguments<6>::Names backward_names;

template <SoftmaxOp op, auto run, const auto& names>
PyObject* fastcall(PyObject*, PyObject* const* values, Py_ssize_t count, PyObject* keywords) {
  return to_python([&] {
    constexpr std::size_t n = std::tuple_size_v<std::remove_cvref_t<decltype(names)>>;
    const Arguments<n> given(names, values, count, keywords);
    return [&]<std::size_t... place>(std::index_sequence<place...>) {
      return run(op, given.required(names, place)...);
    }(std::make_index_sequence<n>{});
  });
}

} // namespace

void register_softmax(py::module_& m) {
  map_names = interned_names<5>({"x", "axis", "temperature", "out", "where"});
  reduce_names = interned_names<4>({"x", "axis", "temperature", "where"});
  backward_names = interned_names<6>({"dy", "y", "axis", "temperature", "out", "where"});
  define(m, "softmax", fastcall<SoftmaxOp::kSoftmax, map_classes, map_names>, "Probabilities.");
  define(m, "log_softmax", fastcall<SoftmaxOp::kLogSoftmax, map_classes, map_names>,
         "Log-probabilities.");
  define(m, "logsumexp", fastcall<SoftmaxOp::kLogSumExp, reduce_classes, reduce_names>,
         "Logarithm of the normaliser.");
  define(m, "entropy", fastcall<SoftmaxOp::kEntropy, reduce_classes, reduce_names>, "Entropy.");
  define(m, "softmax_backward", fastcall<SoftmaxOp::kSoftmaxBackward, backward, backward_names>,
         "Gradient.");
  define(m, "log_softmax_backward",
         fastcall<SoftmaxOp::kLogSoftmaxBackward, backward, backward_names>, "Gradient.");
}

} // namespace softstep::bindings
