#include "bindings/cross_entropy_arguments.hpp"
#include "bindings/gil.hpp"
#include "bindings/reduction.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <type_traits>

namespace softstep::bindings {
namespace {

using ops::Reduction;

// The caller's extra results by name; each an array with one entry a row.
class ExtraResults {
public:
  ExtraResults(const py::tuple& names, const CrossEntropyArguments& a) : rows(a) {
    for (const py::handle& name : names)
      wanted.push_back(py::cast<std::string>(name));
  }
  template <class T> void add_to(ops::RowResults<T>& to) {
    to.lse = row_array<T>("lse");
    to.nll = row_array<T>("nll");
    to.entropy = row_array<T>("entropy");
    to.dtemperature = row_array<T>("dtemperature");
    to.argmax = row_array<std::int32_t>("argmax");
  }
  py::dict results;

private:
  const CrossEntropyArguments& rows;
  std::vector<std::string> wanted;

  template <class T> T* row_array(const char* name) {
    if (std::find(wanted.begin(), wanted.end(), name) == wanted.end())
      return nullptr;
    const py::dtype dtype = std::is_same_v<T, std::int32_t> ? py::dtype::of<std::int32_t>()
                                                            : compute_dtype(rows.logits);
    const py::array array(dtype, rows.batch);
    results[name] = array;
    return data_of<T>(array);
  }
};

// What the reduction divides by: of the rows that are not ignored, or the caller's.
template <class S, class Q>
ops::MeanDenominators denominators_of(const ops::CrossEntropyProblem<S, Q>& problem,
                                      const CrossEntropyOptions& options) {
  if (options.reduction != Reduction::kMean)
    return {1, 1};
  if (options.denominator)
    return {*options.denominator, *options.denominator};
  const auto denominators = ops::mean_denominators(problem);
  if (denominators.loss == 0 && options.empty == Empty::kRaise)
    throw py::value_error("target: the mean is over no rows (all are ignored or weightless)");
  return denominators;
}

// (loss, dlogits or None); with extra results (these, row results, upstream, z_upstream), where
// upstream is d(result) / d(loss of a row).
template <class S, class Q>
py::tuple run(const CrossEntropyArguments& a, const CrossEntropyOptions& options,
              const std::optional<py::tuple>& extra, bool with_gradient,
              std::optional<py::array> dlogits) {
  using T = Compute<S>;
  if (with_gradient && !dlogits)
    dlogits = new_array(shape_of(a.logits), a.logits);
  const auto problem = cross_entropy_problem<S, Q>(a, options, dlogits ? &*dlogits : nullptr);
  const ops::MeanDenominators denominators = denominators_of(problem, options);
  const bool empty = options.reduction == Reduction::kMean && denominators.loss == 0;

  ops::RowResults<T> results{};
  std::optional<py::array> losses;
  std::unique_ptr<T[]> scratch; // of a reduction
  if (options.reduction == Reduction::kNone)
    results.loss = data_of<T>(losses.emplace(compute_dtype(a.logits), a.batch));
  else
    scratch.reset(results.loss = new T[static_cast<std::size_t>(a.rows)]);
  std::optional<ExtraResults> extras;
  if (extra)
    extras.emplace(*extra, a).add_to(results);
  double loss = 0;
  {
    const GilReleased unlocked;
    loss = ops::cross_entropy(problem, denominators, results);
  }
  const py::object gradient = dlogits ? py::object(*dlogits) : py::none();
  py::object returned;
  if (losses)
    returned = a.batch.empty() ? py::object(losses->attr("item")()) : *losses;
  else
    returned = py::float_(!empty ? loss : options.empty_mean());
  if (!extra)
    return py::make_tuple(std::move(returned), gradient);
  return py::make_tuple(std::move(returned), gradient, extras->results,
                        empty ? 0 : 1 / denominators.loss, empty ? 0 : 1 / denominators.z_loss);
}

py::tuple cross_entropy(const py::object& logits, const py::object& target, const py::object& axis,
                        const py::object& target_probabilities, const py::object& weight,
                        const py::object& sample_weight, const py::object& ignore_index,
                        const py::object& label_smoothing, const py::object& smoothing,
                        const py::object& temperature, const py::object& softcap,
                        const py::object& z_loss, const py::object& reduction,
                        const py::object& denominator, const py::object& empty,
                        const std::optional<py::tuple>& extra, bool with_gradient,
                        const py::object& out) {
  const CrossEntropyOptions options = cross_entropy_options(
      label_smoothing, smoothing, temperature, softcap, z_loss, reduction, denominator, empty);
  const CrossEntropyArguments a =
      check_cross_entropy(logits, target, axis, target_probabilities, weight, sample_weight,
                          as_integer(ignore_index, "ignore_index"));
  check_smoothing(options, a);
  std::optional<py::array> dlogits;
  if (with_gradient && !out.is_none()) {
    dlogits = as_output(out, "out", a.logits);
    check_cross_entropy_out(*dlogits, a);
  }
  return with_storage(a.logits, [&](auto type) {
    using S = decltype(type);
    using T = Compute<S>;
    if constexpr (!std::is_same_v<S, T>)
      if (a.probabilities && dtype_of(*a.probabilities) != dtype_of(a.logits))
        return run<S, T>(a, options, extra, with_gradient, dlogits);
    return run<S, S>(a, options, extra, with_gradient, dlogits);
  });
}

// For a caller that computes its logits a part at a time: (rows that count, or None if all do; what
// a mean divides the loss by, and the z-loss). `logits` tells shape and dtype; it is not read.
py::tuple cross_entropy_rows(const py::object& logits, const py::object& target,
                             const py::object& target_probabilities, const py::object& weight,
                             const py::object& sample_weight, const py::object& ignore_index,
                             const py::object& label_smoothing, const py::object& smoothing,
                             const py::object& temperature, const py::object& softcap,
                             const py::object& z_loss, const py::object& reduction,
                             const py::object& denominator, const py::object& empty) {
  const CrossEntropyOptions options = cross_entropy_options(
      label_smoothing, smoothing, temperature, softcap, z_loss, reduction, denominator, empty);
  const CrossEntropyArguments a =
      check_cross_entropy(logits, target, py::int_(-1), target_probabilities, weight, sample_weight,
                          as_integer(ignore_index, "ignore_index"));
  check_smoothing(options, a);
  const auto denominators = with_type(a.logits, [&](auto type) {
    return denominators_of(
        cross_entropy_problem<decltype(type), decltype(type)>(a, options, nullptr), options);
  });
  py::object counts = py::none();
  if (a.target) {
    py::array_t<bool> rows(a.rows);
    bool* counted = rows.mutable_data();
    std::fill(counted, counted + a.rows, false);
    for (py::ssize_t k = 0; k < std::max<py::ssize_t>(a.points, 1); ++k)
      for (py::ssize_t row = 0; row < a.rows; ++row)
        counted[row] |= a.target[static_cast<std::size_t>(k * a.rows + row)] != kIgnoredRow;
    counts = rows;
  }
  return py::make_tuple(counts, denominators.loss, denominators.z_loss);
}

} // namespace

void register_cross_entropy(py::module_& m) {
  m.def("cross_entropy", &cross_entropy, py::arg("logits"), py::arg("target"), py::arg("axis"),
        py::arg("target_probabilities"), py::arg("weight"), py::arg("sample_weight"),
        py::arg("ignore_index"), py::arg("label_smoothing"), py::arg("smoothing"),
        py::arg("temperature"), py::arg("softcap"), py::arg("z_loss"), py::arg("reduction"),
        py::arg("denominator"), py::arg("empty"), py::arg("extra"), py::arg("with_gradient"),
        py::arg("out"));
  m.def("cross_entropy_rows", &cross_entropy_rows, py::arg("logits"), py::arg("target"),
        py::arg("target_probabilities"), py::arg("weight"), py::arg("sample_weight"),
        py::arg("ignore_index"), py::arg("label_smoothing"), py::arg("smoothing"),
        py::arg("temperature"), py::arg("softcap"), py::arg("z_loss"), py::arg("reduction"),
        py::arg("denominator"), py::arg("empty"));
}

} // namespace softstep::bindings
