// The losses of two NumPy arrays of one shape: squared error, and the hinge of two classes.
#include "ops/pair.hpp"
#include "bindings/elements.hpp"
#include "bindings/gil.hpp"
#include "bindings/reduction.hpp"

#include <cmath>
#include <optional>

namespace softstep::bindings {
namespace {

using ops::Access;
using ops::PairLoss;

struct Pairs {
  const char* name; // of the predictions
  py::array predictions, target;
};

// (loss, gradient); the gradient is None unless it is wanted.
py::tuple pair_loss(PairLoss loss, const Pairs& pairs, double margin, const py::object& how,
                    bool with_gradient, const py::object& out) {
  const py::array &predictions = pairs.predictions, &target = pairs.target;
  const Reduction reduction = reduction_of(how);
  py::array gradient, losses;
  if (with_gradient && !out.is_none()) {
    gradient = as_output(out, "out", predictions);
    refuse_overlap(gradient, "out", predictions, pairs.name);
    refuse_overlap(gradient, "out", target, "target");
  } else if (with_gradient) {
    gradient = new_array(shape_of(predictions), predictions);
  }
  if (reduction == Reduction::kNone)
    losses = new_array(shape_of(predictions), predictions);
  const double sum = with_type(predictions, [&](auto type) {
    using T = decltype(type);
    const ops::PairElements<T> elements =
        elements_of<T, 4>({&predictions, &target, reduction == Reduction::kNone ? &losses : nullptr,
                           with_gradient ? &gradient : nullptr},
                          {Access::kRead, Access::kRead, Access::kWrite, Access::kWrite});
    const GilReleased unlocked;
    return ops::pair_loss(loss, elements, margin, upstream_of(reduction, elements.size()));
  });
  return py::make_tuple(reduced(reduction, sum, predictions.size(), losses),
                        !with_gradient  ? py::none()
                        : out.is_none() ? returned(gradient)
                                        : py::object(gradient));
}

py::tuple squared_error(const py::object& predictions, const py::object& target,
                        const py::object& reduction, bool with_gradient, const py::object& out) {
  const py::array p = as_float_input(predictions, "predictions");
  const py::array y = as_same_dtype(target, "target", p);
  require_shape(y, "target", shape_of(p));
  return pair_loss(PairLoss::kSquaredError, {"predictions", p, y}, 0, reduction, with_gradient,
                   out);
}

void require_signs(const py::array& target) {
  const bool good = with_type(target, [&](auto type) {
    const auto elements = elements_of<decltype(type), 1>({&target}, {Access::kRead});
    const GilReleased unlocked;
    return ops::all_signs(elements);
  });
  if (good)
    return;
  const py::module_ numpy = py::module_::import("numpy");
  const py::object index =
      numpy.attr("flatnonzero")(numpy.attr("abs")(target).attr("__ne__")(1)).attr("item")(0);
  throw py::value_error("target: expected -1 or +1, got " +
                        std::string(py::str(target.attr("flat").attr("__getitem__")(index))) +
                        " at " + std::string(py::str(index)) + " (in C order)");
}

py::tuple binary_hinge(const py::object& scores, const py::object& target, const py::object& margin,
                       const py::object& reduction, bool with_gradient, const py::object& out) {
  const py::array s = as_float_input(scores, "scores");
  // Labels are of any dtype.
  const py::array t(
      as_float_input(target, "target").attr("astype")(s.dtype(), py::arg("copy") = false));
  require_shape(t, "target", shape_of(s));
  const double width = as_number(margin, "margin");
  if (!std::isfinite(width))
    throw py::value_error("margin: expected a finite number, got " + number_text(width));
  reduction_of(reduction);
  require_signs(t);
  return pair_loss(PairLoss::kBinaryHinge, {"scores", s, t}, width, reduction, with_gradient, out);
}

} // namespace

void register_pair(py::module_& m) {
  m.def("squared_error", &squared_error, py::arg("predictions"), py::arg("target"),
        py::arg("reduction"), py::arg("with_gradient"), py::arg("out"));
  m.def("binary_hinge", &binary_hinge, py::arg("scores"), py::arg("target"), py::arg("margin"),
        py::arg("reduction"), py::arg("with_gradient"), py::arg("out"));
}

} // namespace softstep::bindings
