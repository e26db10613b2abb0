// The sums of each row's own classes, and the loss from those of all segments.
#include "bindings/cross_entropy_parts.hpp"

#include <cstddef>
#include <initializer_list>
#include <limits>

namespace softstep::bindings {
namespace {

// A row of the matrix of sums.
enum Field : std::size_t {
  kOthers = offsetof(RowSums, others) / sizeof(double),
  kInTop = offsetof(RowSums, in_top) / sizeof(double),
  kTargetLogit = offsetof(RowSums, target_logit) / sizeof(double),
  kPointMass = offsetof(RowSums, point_mass) / sizeof(double),
  kPointMoment = offsetof(RowSums, point_moment) / sizeof(double),
  kMass = offsetof(RowSums, mass) / sizeof(double),
  kMoment = offsetof(RowSums, moment) / sizeof(double),
  kSmoothedMass = offsetof(RowSums, smoothed_mass) / sizeof(double),
  kSmoothedMoment = offsetof(RowSums, smoothed_moment) / sizeof(double),
  kFinite = offsetof(RowSums, finite) / sizeof(double),
};

// The row shape takes no row shorter than the widest vector: shorter segments get masked classes.
constexpr py::ssize_t kLeastClasses = 16;

// Classes last, and filled up.
py::array padded(const py::array& array, py::ssize_t axis, double fill) {
  const py::module_ numpy = py::module_::import("numpy");
  const py::array from = numpy.attr("moveaxis")(array, axis, -1);
  std::vector<py::ssize_t> shape = shape_of(from);
  const py::ssize_t classes = shape.back();
  shape.back() = kLeastClasses;
  py::array to = numpy.attr("full")(py::cast(shape), fill, array.dtype());
  to[py::make_tuple(py::ellipsis(), py::slice(0, classes, 1))] = from;
  return to;
}

py::array ones(const LogitsForm& form) {
  return py::module_::import("numpy").attr("ones")(form.classes, compute_dtype(form.dtype));
}

RowSums* checked_sums(const py::array_t<double>& sums) {
  if (sums.ndim() != 2 || sums.shape(1) != kRowSums || !(sums.flags() & py::array::c_style) ||
      !sums.writeable() || !is_aligned(sums))
    throw py::value_error("sums: expected a contiguous, aligned matrix that can be written to");
  return reinterpret_cast<RowSums*>(const_cast<double*>(sums.data()));
}

} // namespace

template <class F>
void CrossEntropyParts::with_segment(const py::array& logits, py::ssize_t begin,
                                     const py::object& object, const py::array* out, F f) const {
  require_rows(logits, begin);
  const auto probabilities = probabilities_of(object, logits);
  const auto run = [&](auto problem) {
    const GilReleased unlocked;
    f(problem);
  };
  const py::ssize_t axis = axis_of(logits);
  if (call_.form.classes >= kLeastClasses)
    return call_.with_problem({logits, axis, pointer(probabilities), out}, begin, run);
  const py::array x = padded(logits, axis, -std::numeric_limits<double>::infinity());
  std::optional<py::array> q, dx, weight;
  if (probabilities)
    q = padded(*probabilities, axis, 0);
  if (out)
    dx = new_array(shape_of(x), x);
  if (call_.weight() || call_.options.smooths())
    weight = padded(call_.weight() ? *call_.weight() : ones(call_.form), 0, 0);
  call_.with_problem({x, x.ndim() - 1, pointer(q), pointer(dx), pointer(weight)}, begin, run);
  if (!out)
    return;
  const py::object to = py::module_::import("numpy").attr("moveaxis")(*out, axis, -1);
  const py::slice own(0, call_.form.classes, 1);
  to[py::ellipsis()] = (*dx)[py::make_tuple(py::ellipsis(), own)];
}

py::array_t<double> CrossEntropyParts::sweep(const py::array& logits, py::ssize_t begin,
                                             const py::object& probabilities) const {
  py::array_t<double> sums({rows_of(logits), kRowSums});
  RowSums* rows = checked_sums(sums);
  with_segment(logits, begin, probabilities, nullptr,
               [&](const auto& problem) { ops::sweep_cross_entropy(problem, rows); });
  return sums;
}

std::vector<std::size_t> CrossEntropyParts::used() const {
  std::vector<std::size_t> fields = {kOthers};
  const auto use = [&](bool condition, std::initializer_list<std::size_t> more) {
    if (condition)
      fields.insert(fields.end(), more);
  };
  const bool smooths = call_.options.smooths();
  use(call_.points() == 1, {kTargetLogit});
  use(call_.points() != 1, {kInTop});
  use(call_.points() > 0 && !known_.point_mass, {kPointMass});
  use(call_.points() > 1, {kPointMoment});
  use(call_.points() == 0, {kMass, kMoment});
  use(smooths && !known_.smoothed_mass, {kSmoothedMass});
  use(smooths, {kSmoothedMoment});
  use(smooths && !known_.finite, {kFinite});
  return fields;
}

double CrossEntropyParts::scale() const {
  const double exact = 1 / call_.options.temperature;
  return dtype_of(call_.form.dtype) == DType::kFloat64
             ? exact
             : static_cast<double>(static_cast<float>(exact));
}

void CrossEntropyParts::shift(const py::array_t<double>& sums,
                              const Numbers<double>& maxima) const {
  RowSums* rows = checked_sums(sums);
  require_shape(maxima, "maxima", {sums.shape(0)});
  for (py::ssize_t row = 0; row < sums.shape(0); ++row)
    ops::shift_sums(rows[row], maxima.at(row), scale());
}

py::object CrossEntropyParts::finish(const py::array& logits, const py::array_t<double>& sums,
                                     const std::optional<py::array>& out, py::ssize_t begin,
                                     const py::object& probabilities) const {
  RowSums* rows = checked_sums(sums);
  require_shape(sums, "sums", {rows_of(logits), kRowSums});
  call_.refuse_empty_mean();
  if (out)
    as_output(*out, "out", logits);
  for (py::ssize_t row = 0; row < sums.shape(0); ++row)
    ops::complete_sums(rows[row], known_, scale());
  const py::array losses(compute_dtype(logits), batch_of(logits));
  double loss = 0;
  with_segment(logits, begin, probabilities, pointer(out), [&](const auto& problem) {
    using T = typename std::remove_cvref_t<decltype(problem)>::T;
    ops::RowResults<T> results{};
    results.loss = data_of<T>(losses);
    loss = ops::finish_cross_entropy(problem, call_.denominators, rows, results);
  });
  if (call_.options.reduction == Reduction::kNone)
    return returned(losses);
  return py::float_(call_.is_empty_mean() ? empty_mean(call_.options) : loss);
}

} // namespace softstep::bindings
