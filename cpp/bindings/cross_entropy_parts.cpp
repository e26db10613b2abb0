#include "bindings/cross_entropy_parts.hpp"

#include <pybind11/stl.h>

#include <memory>

namespace softstep::bindings {
namespace {

// Where a result of each of the logits' rows is written; null if it is not asked for.
template <class R> R* row_result(const py::dict& extra, const char* name, const py::array& logits) {
  if (!extra.contains(name))
    return nullptr;
  const py::object object = extra[name];
  const bool is_array = py::isinstance<py::array_t<R>>(object);
  const auto array = is_array ? py::reinterpret_borrow<py::array>(object) : py::array();
  if (!is_array || array.ndim() != 1 || array.shape(0) != logits.shape(0) ||
      !(array.flags() & py::array::c_style) || !array.writeable())
    throw py::value_error("extra: expected for " + std::string(name) + " a contiguous array of " +
                          std::to_string(logits.shape(0)) + " numbers that can be written to");
  return data_of<R>(array);
}

} // namespace

CrossEntropyParts::CrossEntropyParts(LogitsForm form, const CrossEntropyArrays& arrays,
                                     const CrossEntropyOptions& options,
                                     std::optional<ClassSegment> segment)
    : call_(std::move(form), arrays, options, segment) {
  known_.target = call_.points() == 1;
  if (call_.by_class() && !call_.weight())
    known_.point_mass = 1 - options.label_smoothing;
  if (options.smoothing == Smoothing::kAllowed)
    return;
  const double classes = static_cast<double>(call_.segment.total);
  known_.finite = classes;
  if (!call_.weight())
    known_.smoothed_mass = classes - (options.smoothing == Smoothing::kExcludeTarget ? 1 : 0);
}

py::object CrossEntropyParts::counts() const {
  if (!call_.target())
    return py::none();
  py::array_t<bool> counts(call_.rows());
  for (py::ssize_t row = 0; row < call_.rows(); ++row)
    counts.mutable_at(row) = call_.counts(row);
  return counts;
}

py::array_t<std::int32_t> CrossEntropyParts::classes(py::ssize_t begin, py::ssize_t end) const {
  if (begin < 0 || end > call_.rows())
    throw py::index_error("begin, end: expected rows in [0, " + std::to_string(call_.rows()) + ")");
  std::vector<std::int32_t> found;
  for (py::ssize_t k = 0; call_.target() && k < call_.points(); ++k)
    for (py::ssize_t row = begin; row < end; ++row)
      if (const std::int32_t c = call_.target()[k * call_.rows() + row]; c >= 0)
        found.push_back(c);
  return py::array_t<std::int32_t>(static_cast<py::ssize_t>(found.size()), found.data());
}

py::object CrossEntropyParts::run(const py::array& logits, py::ssize_t begin,
                                  const py::object& probabilities, bool with_gradient,
                                  const py::dict& extra) const {
  require_rows(logits, begin);
  if (with_gradient)
    as_output(logits, "logits", logits);
  const auto given = probabilities_of(probabilities, logits);
  const py::array losses(compute_dtype(logits), std::vector<py::ssize_t>{logits.shape(0)});
  const CrossEntropyOperands operands{logits, axis_of(logits), pointer(given),
                                      with_gradient ? &logits : nullptr};
  const double loss = call_.with_problem(operands, begin, [&](const auto& problem) {
    using T = typename std::remove_cvref_t<decltype(problem)>::T;
    ops::RowResults<T> results{};
    results.loss = data_of<T>(losses);
    results.lse = row_result<T>(extra, "lse", logits);
    results.nll = row_result<T>(extra, "nll", logits);
    results.entropy = row_result<T>(extra, "entropy", logits);
    results.dtemperature = row_result<T>(extra, "dtemperature", logits);
    results.argmax = row_result<std::int32_t>(extra, "argmax", logits);
    const GilReleased unlocked;
    return ops::cross_entropy(problem, call_.denominators, results);
  });
  return call_.options.reduction == Reduction::kNone ? py::object(losses) : py::float_(loss);
}

py::ssize_t CrossEntropyParts::rows_of(const py::array& logits) const {
  py::ssize_t rows = 1;
  for (const py::ssize_t size : batch_of(logits))
    rows *= size;
  return rows;
}

// What is called directly has to be as safe as what the package calls.
void CrossEntropyParts::require_rows(const py::array& logits, py::ssize_t begin) const {
  if (axis_of(logits) < 0 || logits.shape(axis_of(logits)) != call_.form.classes || begin < 0 ||
      rows_of(logits) > call_.rows() - begin || !as_any_float_input(logits, "logits").is(logits) ||
      dtype_of(logits) != dtype_of(call_.form.dtype))
    throw py::value_error("logits: expected aligned rows of " + std::to_string(call_.form.classes) +
                          " classes of dtype " + std::string(py::str(call_.form.dtype)) +
                          " from row " + std::to_string(begin) + " of " +
                          std::to_string(call_.rows()) + " on, got " + dtype_text(logits) +
                          " of shape " + shape_text(shape_of(logits)));
}

std::optional<py::array> CrossEntropyParts::probabilities_of(const py::object& object,
                                                             const py::array& logits) const {
  if (call_.points() > 0)
    return std::nullopt;
  if (object.is_none() && call_.probabilities())
    return *call_.probabilities();
  py::array array = call_.fitting_probabilities(as_numpy(object, "probabilities"));
  require_shape(array, "probabilities", shape_of(logits));
  return array;
}

namespace {

ClassSegment checked_segment(py::ssize_t first, py::ssize_t total, py::ssize_t classes) {
  if (first < 0 || classes > total - first)
    throw py::value_error("logits: expected at most the " + std::to_string(total - first) +
                          " classes from class " + std::to_string(first) + " on, got " +
                          std::to_string(classes));
  return {first, total};
}

// Logits that are there, of a segment of the classes: (the call, the logits as it reads them, the
// gradient's array or None).
py::tuple of_segment(const py::object& given, const py::object& target, const py::object& axis,
                     const py::object& target_probabilities, const py::object& weight,
                     const py::object& sample_weight, py::ssize_t first, py::ssize_t total,
                     bool with_gradient, const py::object& out, const py::kwargs& options) {
  const auto read = cross_entropy_options(options);
  const py::array logits = as_any_float_input(given, "logits");
  LogitsForm form(shape_of(logits), as_axis(axis, logits, "logits"), logits.dtype());
  const ClassSegment segment = checked_segment(first, total, form.classes);
  auto parts = std::make_unique<CrossEntropyParts>(
      std::move(form), CrossEntropyArrays{target, target_probabilities, weight, sample_weight},
      read, segment);
  py::object dlogits = py::none();
  if (with_gradient)
    dlogits = out.is_none() ? new_array(shape_of(logits), logits)
                            : parts->call().checked_out(out, logits);
  return py::make_tuple(std::move(parts), logits, dlogits);
}

// Logits that will be made a chunk of rows at a time, all classes or, with `first`, a segment.
std::unique_ptr<CrossEntropyParts>
of_chunks(const std::vector<py::ssize_t>& shape, const py::dtype& dtype, const py::object& target,
          const py::object& target_probabilities, const py::object& class_weight,
          const py::object& sample_weight, const py::object& first, py::ssize_t total,
          const py::kwargs& options) {
  const auto read = cross_entropy_options(options);
  LogitsForm form(shape, static_cast<py::ssize_t>(shape.size()) - 1, dtype);
  std::optional<ClassSegment> segment;
  if (!first.is_none())
    segment = checked_segment(as_integer(first, "first"), total, form.classes);
  auto parts = std::make_unique<CrossEntropyParts>(std::move(form),
                                                   CrossEntropyArrays{target, target_probabilities,
                                                                      class_weight, sample_weight,
                                                                      "class_weight", true},
                                                   read, segment);
  if (!segment)
    parts->call().refuse_empty_mean();
  return parts;
}

} // namespace

void register_cross_entropy_parts(py::module_& m) {
  using Parts = CrossEntropyParts;
  const auto none = py::none();
  py::class_<Parts>(m, "CrossEntropyCall")
      .def_static("of_segment", &of_segment, py::arg("logits"), py::arg("target"), py::kw_only(),
                  py::arg("axis"), py::arg("target_probabilities"), py::arg("weight"),
                  py::arg("sample_weight"), py::arg("first"), py::arg("total"),
                  py::arg("with_gradient"), py::arg("out"))
      .def_static("of_chunks", &of_chunks, py::arg("shape"), py::arg("dtype"), py::arg("target"),
                  py::kw_only(), py::arg("target_probabilities"), py::arg("class_weight"),
                  py::arg("sample_weight"), py::arg("first") = none, py::arg("total") = 0)
      .def_property_readonly("counts", &Parts::counts)
      .def_property_readonly("used", &Parts::used)
      .def_property_readonly("sample_weight",
                             [](const Parts& p) { return p.call().sample_weight(); })
      .def_property_readonly("loss_denominator",
                             [](const Parts& p) { return p.call().denominators.loss; })
      .def_property_readonly("z_denominator",
                             [](const Parts& p) { return p.call().denominators.z_loss; })
      .def_property_readonly("denominator_is_part",
                             [](const Parts& p) { return p.call().denominator_is_part; })
      .def("kept", &Parts::kept, py::arg("rows"))
      .def("divided_by", &Parts::divided_by, py::arg("loss_denominator"))
      .def("classes", &Parts::classes, py::arg("begin"), py::arg("end"))
      .def("run", &Parts::run, py::arg("logits"), py::arg("begin"), py::arg("probabilities"),
           py::arg("with_gradient"), py::arg("extra") = py::dict())
      .def("sweep", &Parts::sweep, py::arg("logits"), py::arg("begin") = 0,
           py::arg("probabilities") = none)
      .def("shift", &Parts::shift, py::arg("sums"), py::arg("maxima"))
      .def("finish", &Parts::finish, py::arg("logits"), py::arg("sums"), py::arg("out"),
           py::arg("begin") = 0, py::arg("probabilities") = none);
}

} // namespace softstep::bindings
