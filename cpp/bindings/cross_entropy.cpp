#include "ops/cross_entropy.hpp"
#include "bindings/arrays.hpp"
#include "bindings/targets.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace softstep::bindings {
namespace {

using ops::Reduction;

Reduction reduction_of(const std::string& name) {
  if (name == "mean")
    return Reduction::kMean;
  if (name == "sum")
    return Reduction::kSum;
  if (name == "none")
    return Reduction::kNone;
  throw py::value_error("reduction: expected 'none', 'sum' or 'mean', got '" + name + "'");
}

enum class Empty { kNan, kZero, kRaise };
Empty empty_of(const std::string& name) {
  if (name == "nan")
    return Empty::kNan;
  if (name == "zero")
    return Empty::kZero;
  if (name == "raise")
    return Empty::kRaise;
  throw py::value_error("empty: expected 'nan', 'zero' or 'raise', got '" + name + "'");
}

struct Options {
  double label_smoothing, temperature, z_loss;
  Reduction reduction;
  std::optional<double> denominator;
  Empty empty;

  void check() const {
    if (!(label_smoothing >= 0 && label_smoothing <= 1))
      throw py::value_error("label_smoothing: expected a number in [0, 1], got " +
                            number_text(label_smoothing));
    if (!(z_loss >= 0) || std::isinf(z_loss))
      throw py::value_error("z_loss: expected a finite number of at least 0, got " +
                            number_text(z_loss));
    if (denominator && reduction != Reduction::kMean)
      throw py::value_error("denominator: only reduction='mean' divides by one");
    if (denominator && (!(*denominator > 0) || std::isinf(*denominator)))
      throw py::value_error("denominator: expected a finite number above 0, got " +
                            number_text(*denominator));
  }
};

// Everything that is checked before anything is written.
struct Arguments {
  py::array logits;
  py::ssize_t axis;
  std::optional<py::array> probabilities, weight, sample_weight;
  std::unique_ptr<std::int32_t[]> target;
  std::vector<py::ssize_t> batch;
};

std::optional<py::array> vector_like(const py::object& object, const char* name,
                                     const std::vector<py::ssize_t>& shape,
                                     const py::array& logits) {
  if (object.is_none())
    return std::nullopt;
  py::array array = as_input_like(object, name, logits);
  require_shape(array, name, shape);
  if (!(array.flags() & py::array::c_style))
    array = py::array(array.attr("copy")(py::arg("order") = "C"));
  return array;
}

// Rows of sample_weight 0 are ignored rows: whatever they hold, they add nothing.
template <class T> void ignore_weightless(std::int32_t* target, const py::array& sample_weight) {
  const T* weights = static_cast<const T*>(sample_weight.data());
  for (py::ssize_t row = 0; row < sample_weight.size(); ++row)
    if (weights[row] == T(0))
      target[row] = kIgnoredRow;
}

Arguments checked_arguments(const py::object& logits, const py::object& target,
                            const py::object& axis, const py::object& weight,
                            const py::object& sample_weight, std::int64_t ignore_index) {
  Arguments a{as_float_input(logits, "logits"), 0, {}, {}, {}, nullptr, {}};
  a.axis = as_axis(axis, a.logits, "logits");
  a.batch = without_axis(shape_of(a.logits), a.axis);
  a.weight = vector_like(weight, "weight", {a.logits.shape(a.axis)}, a.logits);
  a.sample_weight = vector_like(sample_weight, "sample_weight", a.batch, a.logits);
  const py::array targets = py::isinstance<py::array>(target)
                                ? py::reinterpret_borrow<py::array>(target)
                                : py::array::ensure(target);
  const char kind = targets ? targets.dtype().kind() : 'O';
  if (kind != 'i' && kind != 'u' && kind != 'b' && kind != 'f')
    throw py::type_error("target: expected integers (classes) or floats (probabilities), got " +
                         (targets ? dtype_text(targets) : "something that is no array"));
  if (has_integer_dtype(targets)) {
    require_shape(targets, "target", a.batch);
    a.target = checked_targets(targets, ignore_index, a.logits.shape(a.axis));
  } else {
    if (shape_of(targets) != shape_of(a.logits))
      throw py::value_error("target: expected integers of shape " + shape_text(a.batch) +
                            " (classes) or floats of shape " + shape_text(shape_of(a.logits)) +
                            " (probabilities), got " + dtype_text(targets) + " of shape " +
                            shape_text(shape_of(targets)));
    a.probabilities = as_input_like(targets, "target", a.logits);
    if (a.sample_weight) {
      const auto rows = static_cast<std::size_t>(a.sample_weight->size());
      a.target.reset(new std::int32_t[rows]());
    }
  }
  if (a.sample_weight)
    with_type(a.logits, [&](auto type) {
      ignore_weightless<decltype(type)>(a.target.get(), *a.sample_weight);
    });
  return a;
}

// (loss, dlogits); dlogits is None without a gradient.
py::tuple cross_entropy(const py::object& logits, const py::object& target, const py::object& axis,
                        const py::object& weight, const py::object& sample_weight,
                        const py::object& ignore_index, const py::object& label_smoothing,
                        const py::object& temperature, const py::object& z_loss,
                        const std::string& reduction, const py::object& denominator,
                        const std::string& empty, bool with_gradient, const py::object& out) {
  Options options{as_number(label_smoothing, "label_smoothing"),
                  as_temperature(temperature),
                  as_number(z_loss, "z_loss"),
                  reduction_of(reduction),
                  std::nullopt,
                  empty_of(empty)};
  if (!denominator.is_none())
    options.denominator = as_number(denominator, "denominator");
  options.check();
  Arguments a = checked_arguments(logits, target, axis, weight, sample_weight,
                                  as_integer(ignore_index, "ignore_index"));
  py::object gradient = py::none();
  std::optional<py::array> dlogits;
  if (with_gradient && !out.is_none()) {
    dlogits = as_output(out, "out", a.logits);
    refuse_overlap(*dlogits, "out", a.logits, "logits");
    if (a.probabilities)
      refuse_overlap(*dlogits, "out", *a.probabilities, "target", false);
    if (a.weight)
      refuse_overlap(*dlogits, "out", *a.weight, "weight", false);
    if (a.sample_weight)
      refuse_overlap(*dlogits, "out", *a.sample_weight, "sample_weight", false);
  }
  return with_type(a.logits, [&](auto type) -> py::tuple {
    using T = decltype(type);
    ops::CrossEntropyProblem<T> problem;
    problem.target = a.target.get();
    const auto values = [](const std::optional<py::array>& array) {
      return array ? static_cast<const T*>(array->data()) : nullptr;
    };
    problem.weight = values(a.weight);
    problem.sample_weight = values(a.sample_weight);
    problem.label_smoothing = options.label_smoothing;
    problem.temperature = options.temperature;
    problem.z_loss = options.z_loss;
    problem.reduction = options.reduction;
    problem.rows =
        row_problem<T>(a.axis, a.logits, a.probabilities ? &*a.probabilities : nullptr, nullptr);
    ops::MeanDenominators denominators{1, 1};
    if (options.reduction == Reduction::kMean) {
      denominators = options.denominator
                         ? ops::MeanDenominators{*options.denominator, *options.denominator}
                         : ops::mean_denominators(problem);
      if (denominators.loss == 0 && options.empty == Empty::kRaise)
        throw py::value_error("target: the mean is over no rows (all are ignored or weightless)");
    }
    if (with_gradient) {
      if (!dlogits)
        dlogits = new_array(shape_of(a.logits), a.logits);
      problem.rows = row_problem<T>(a.axis, a.logits, a.probabilities ? &*a.probabilities : nullptr,
                                    &*dlogits);
      gradient = *dlogits;
    }
    if (options.reduction == Reduction::kNone) {
      const py::array losses = new_array(a.batch, a.logits);
      T* loss = static_cast<T*>(const_cast<void*>(losses.data()));
      {
        py::gil_scoped_release unlocked;
        ops::cross_entropy(problem, denominators, loss);
      }
      return py::make_tuple(a.batch.empty() ? losses.attr("item")() : py::object(losses), gradient);
    }
    double result = 0;
    {
      py::gil_scoped_release unlocked;
      const std::unique_ptr<T[]> losses(new T[static_cast<std::size_t>(problem.rows.rows)]);
      result = ops::cross_entropy(problem, denominators, losses.get());
    }
    if (options.reduction == Reduction::kMean && denominators.loss == 0)
      result = options.empty == Empty::kZero ? 0 : std::numeric_limits<double>::quiet_NaN();
    return py::make_tuple(result, gradient);
  });
}

} // namespace

void register_cross_entropy(py::module_& m) {
  m.def("cross_entropy", &cross_entropy, py::arg("logits"), py::arg("target"), py::arg("axis"),
        py::arg("weight"), py::arg("sample_weight"), py::arg("ignore_index"),
        py::arg("label_smoothing"), py::arg("temperature"), py::arg("z_loss"), py::arg("reduction"),
        py::arg("denominator"), py::arg("empty"), py::arg("with_gradient"), py::arg("out"));
}

} // namespace softstep::bindings
