// The hinge loss of more than two classes, of NumPy arrays.
#include "ops/hinge.hpp"
#include "bindings/gil.hpp"
#include "bindings/reduction.hpp"
#include "bindings/targets.hpp"

#include <cmath>

namespace softstep::bindings {
namespace {

std::unique_ptr<std::int32_t[]> checked_classes(const py::object& object, const py::array& scores,
                                                py::ssize_t axis) {
  const py::array target = as_numpy(object, "target");
  const auto batch = without_axis(shape_of(scores), axis);
  if (shape_of(target) != batch)
    throw py::value_error("target: expected shape " + shape_text(batch) + " (classes) or " +
                          shape_text(shape_of(scores)) + " (-1 or +1), got " +
                          shape_text(shape_of(target)));
  if (!has_integer_dtype(target))
    throw py::type_error("target: expected class indices of an integer dtype, got " +
                         dtype_text(target));
  return checked_targets(target, std::nullopt, scores.shape(axis));
}

// (loss, dscores); dscores is None unless it is wanted.
py::tuple hinge(const py::object& scores, const py::object& target, const py::object& axis_object,
                const py::object& margin, const py::object& how, bool with_gradient,
                const py::object& out) {
  const py::array s = as_float_input(scores, "scores");
  const py::ssize_t axis = as_axis(axis_object, s, "scores");
  const double width = as_number(margin, "margin");
  if (!std::isfinite(width))
    throw py::value_error("margin: expected a finite number, got " + number_text(width));
  const Reduction reduction = reduction_of(how);
  const auto classes = checked_classes(target, s, axis);
  py::array gradient;
  if (with_gradient && !out.is_none()) {
    gradient = as_output(out, "out", s);
    refuse_overlap(gradient, "out", s, "scores");
  } else if (with_gradient) {
    gradient = new_array(shape_of(s), s);
  }
  const py::array losses = new_array(without_axis(shape_of(s), axis), s);
  const double sum = with_type(s, [&](auto type) {
    using T = decltype(type);
    ops::HingeProblem<T> problem;
    problem.rows = row_problem<T>(axis, s, nullptr, with_gradient ? &gradient : nullptr);
    problem.target = classes.get();
    problem.margin = width;
    problem.upstream = upstream_of(reduction, losses.size());
    T* loss = static_cast<T*>(const_cast<void*>(losses.data()));
    const GilReleased unlocked;
    return ops::hinge(problem, loss);
  });
  return py::make_tuple(reduced(reduction, sum, losses.size(), losses),
                        with_gradient ? py::object(gradient) : py::none());
}

} // namespace

void register_hinge(py::module_& m) {
  m.def("hinge", &hinge, py::arg("scores"), py::arg("target"), py::arg("axis"), py::arg("margin"),
        py::arg("reduction"), py::arg("with_gradient"), py::arg("out"));
}

} // namespace softstep::bindings
