#include "bindings/cross_entropy_arguments.hpp"
#include "bindings/reduction.hpp"

#include <cmath>
#include <limits>

namespace softstep::bindings {
namespace {

std::optional<py::array> weights(const py::object& object, const char* name,
                                 const std::vector<py::ssize_t>& shape, const py::array& logits) {
  if (object.is_none())
    return std::nullopt;
  py::array array = as_compute_input(object, name, logits);
  require_shape(array, name, shape);
  return array;
}

// Rows of sample_weight 0 are ignored rows: whatever they hold, they add nothing.
template <class T> void ignore_weightless(CrossEntropyArguments& a) {
  if (!a.target)
    a.target.reset(new std::int32_t[static_cast<std::size_t>(a.rows)]());
  const T* sample_weight = data_of<T>(*a.sample_weight);
  for (py::ssize_t row = 0; row < a.rows; ++row)
    if (sample_weight[row] == T(0))
      for (py::ssize_t k = 0; k < std::max<py::ssize_t>(a.points, 1); ++k)
        a.target[static_cast<std::size_t>(k * a.rows + row)] = kIgnoredRow;
}

// Sparse targets: indices (batch, K) with their probabilities, both turned to (K, batch).
void check_sparse(CrossEntropyArguments& a, const py::array& target,
                  const py::object& probabilities, std::int64_t ignore_index, py::ssize_t classes) {
  std::vector<py::ssize_t> shape = a.batch;
  const py::ssize_t points = target.ndim() > 0 ? target.shape(target.ndim() - 1) : 0;
  shape.push_back(points);
  if (!has_integer_dtype(target))
    throw py::type_error("target: with target_probabilities it holds class indices, got " +
                         dtype_text(target));
  if (shape_of(target) != shape || points < 1 || points > kMaxPoints)
    throw py::value_error("target: expected " + shape_text(a.batch) + " and a last axis of 1 to " +
                          std::to_string(kMaxPoints) + " classes, got " +
                          shape_text(shape_of(target)));
  const py::array mass = as_compute_input(probabilities, "target_probabilities", a.logits);
  require_shape(mass, "target_probabilities", shape);
  const auto checked = checked_targets(target, ignore_index, classes);
  a.points = points;
  a.target.reset(new std::int32_t[static_cast<std::size_t>(points * a.rows)]);
  for (py::ssize_t row = 0; row < a.rows; ++row)
    for (py::ssize_t k = 0; k < points; ++k)
      a.target[static_cast<std::size_t>(k * a.rows + row)] =
          checked[static_cast<std::size_t>(row * points + k)];
  const py::tuple flat = py::make_tuple(a.rows, points);
  a.mass = py::array(mass.attr("reshape")(flat).attr("T").attr("copy")(py::arg("order") = "C"));
}

void check_probabilities(CrossEntropyArguments& a, const py::array& target) {
  if (shape_of(target) != shape_of(a.logits))
    throw py::value_error("target: expected integers of shape " + shape_text(a.batch) +
                          " (classes) or floats of shape " + shape_text(shape_of(a.logits)) +
                          " (probabilities), got " + dtype_text(target) + " of shape " +
                          shape_text(shape_of(target)));
  const py::array probabilities = as_any_float_input(target, "target");
  const bool fits = dtype_of(probabilities) == dtype_of(a.logits) ||
                    probabilities.dtype().num() == compute_dtype(a.logits).num();
  a.probabilities = fits ? probabilities : as_compute_input(target, "target", a.logits);
}

bool float_like(const py::array& array) {
  const char kind = array.dtype().kind();
  return kind == 'f' || kind == 'V';
}

} // namespace

Empty empty_of(const std::string& name) {
  if (name == "nan")
    return Empty::kNan;
  if (name == "zero")
    return Empty::kZero;
  if (name == "raise")
    return Empty::kRaise;
  throw py::value_error("empty: expected 'nan', 'zero' or 'raise', got '" + name + "'");
}

ops::Smoothing smoothing_of(const std::string& name) {
  if (name == "uniform")
    return ops::Smoothing::kUniform;
  if (name == "exclude_target")
    return ops::Smoothing::kExcludeTarget;
  if (name == "allowed")
    return ops::Smoothing::kAllowed;
  throw py::value_error("smoothing: expected 'uniform', 'exclude_target' or 'allowed', got '" +
                        name + "'");
}

double as_softcap(const py::handle& object) {
  if (object.is_none())
    return 0;
  const double softcap = as_number(object, "softcap");
  // Beyond these, float32 cannot hold the quotient.
  if (!(softcap >= 1e-30 && softcap <= 1e30))
    throw py::value_error(
        "softcap: expected a finite number above 0 (in [1e-30, 1e30]) or None, got " +
        number_text(softcap));
  return softcap;
}

void CrossEntropyOptions::check() const {
  if (!(label_smoothing >= 0 && label_smoothing <= 1))
    throw py::value_error("label_smoothing: expected a number in [0, 1], got " +
                          number_text(label_smoothing));
  if (!(z_loss >= 0) || std::isinf(z_loss))
    throw py::value_error("z_loss: expected a finite number of at least 0, got " +
                          number_text(z_loss));
  if (denominator && reduction != ops::Reduction::kMean)
    throw py::value_error("denominator: only reduction='mean' divides by one");
  if (denominator && (!(*denominator > 0) || std::isinf(*denominator)))
    throw py::value_error("denominator: expected a finite number above 0, got " +
                          number_text(*denominator));
}

double CrossEntropyOptions::empty_mean() const {
  return empty == Empty::kZero ? 0 : std::numeric_limits<double>::quiet_NaN();
}

CrossEntropyOptions cross_entropy_options(const py::object& label_smoothing,
                                          const py::object& smoothing,
                                          const py::object& temperature, const py::object& softcap,
                                          const py::object& z_loss, const py::object& reduction,
                                          const py::object& denominator, const py::object& empty) {
  CrossEntropyOptions options{as_number(label_smoothing, "label_smoothing"),
                              as_temperature(temperature),
                              as_softcap(softcap),
                              as_number(z_loss, "z_loss"),
                              smoothing_of(as_text(smoothing, "smoothing")),
                              reduction_of(as_text(reduction, "reduction")),
                              std::nullopt,
                              empty_of(as_text(empty, "empty"))};
  if (!denominator.is_none())
    options.denominator = as_number(denominator, "denominator");
  options.check();
  return options;
}

void check_smoothing(const CrossEntropyOptions& options, const CrossEntropyArguments& a) {
  if (options.smoothing == ops::Smoothing::kExcludeTarget && (a.points != 1 || a.mass))
    throw py::value_error("smoothing: 'exclude_target' needs class targets");
}

CrossEntropyArguments check_cross_entropy(const py::object& logits, const py::object& target,
                                          const py::object& axis,
                                          const py::object& target_probabilities,
                                          const py::object& weight, const py::object& sample_weight,
                                          std::int64_t ignore_index,
                                          std::optional<py::ssize_t> all_classes) {
  CrossEntropyArguments a{};
  a.logits = as_any_float_input(logits, "logits");
  a.axis = as_axis(axis, a.logits, "logits");
  a.batch = without_axis(shape_of(a.logits), a.axis);
  a.classes = a.logits.shape(a.axis);
  a.rows = 1;
  for (const py::ssize_t size : a.batch)
    a.rows *= size;
  a.weight = weights(weight, "weight", {a.classes}, a.logits);
  a.sample_weight = weights(sample_weight, "sample_weight", a.batch, a.logits);
  const py::array targets = as_numpy(target, "target");
  if (!target_probabilities.is_none()) {
    check_sparse(a, targets, target_probabilities, ignore_index, all_classes.value_or(a.classes));
  } else if (has_integer_dtype(targets)) {
    require_shape(targets, "target", a.batch);
    a.target = checked_targets(targets, ignore_index, all_classes.value_or(a.classes));
    a.points = 1;
  } else if (float_like(targets)) {
    check_probabilities(a, targets);
  } else {
    throw py::type_error("target: expected integers (classes) or floats (probabilities), got " +
                         dtype_text(targets));
  }
  if (a.sample_weight)
    with_type(*a.sample_weight, [&](auto type) { ignore_weightless<decltype(type)>(a); });
  return a;
}

void check_cross_entropy_out(const py::array& out, const CrossEntropyArguments& a) {
  refuse_overlap(out, "out", a.logits, "logits");
  if (a.probabilities)
    refuse_overlap(out, "out", *a.probabilities, "target", false);
  if (a.weight)
    refuse_overlap(out, "out", *a.weight, "weight", false);
  if (a.sample_weight)
    refuse_overlap(out, "out", *a.sample_weight, "sample_weight", false);
}

} // namespace softstep::bindings
