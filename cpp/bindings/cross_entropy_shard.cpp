// Cross-entropy of rows whose classes are spread over processes: what one of them computes of its
// own classes, before and after the processes add their sums.
#include "bindings/cross_entropy_arguments.hpp"
#include "bindings/gil.hpp"
#include "ops/row_sums.hpp"

#include <pybind11/stl.h>

#include <cstddef>
#include <initializer_list>
#include <limits>
#include <optional>
#include <type_traits>
#include <vector>

namespace softstep::bindings {
namespace {

// A row of the matrix of sums.
enum Field : std::size_t {
  kOthers = offsetof(RowSums, others) / sizeof(double),
  kTargetLogit = offsetof(RowSums, target_logit) / sizeof(double),
  kPointMass = offsetof(RowSums, point_mass) / sizeof(double),
  kPointMoment = offsetof(RowSums, point_moment) / sizeof(double),
  kMass = offsetof(RowSums, mass) / sizeof(double),
  kMoment = offsetof(RowSums, moment) / sizeof(double),
  kSmoothedMass = offsetof(RowSums, smoothed_mass) / sizeof(double),
  kSmoothedMoment = offsetof(RowSums, smoothed_moment) / sizeof(double),
  kFinite = offsetof(RowSums, finite) / sizeof(double),
};

// The row shape takes no row shorter than the widest vector: shorter shards get masked classes.
constexpr py::ssize_t kLeastClasses = 16;

py::array padded(const py::array& array, py::ssize_t axis, const py::object& fill) {
  const py::module_ numpy = py::module_::import("numpy");
  const py::array from = numpy.attr("moveaxis")(array, axis, -1);
  std::vector<py::ssize_t> shape = shape_of(from);
  const py::ssize_t classes = shape.back();
  shape.back() = kLeastClasses;
  py::array to = numpy.attr("full")(py::cast(shape), fill, array.dtype());
  to[py::make_tuple(py::ellipsis(), py::slice(0, classes, 1))] = from;
  return to;
}

class CrossEntropyShard {
public:
  CrossEntropyShard(const py::object& logits, const py::object& target, const py::object& axis,
                    const py::object& target_probabilities, const py::object& weight,
                    const py::object& sample_weight, const py::object& ignore_index,
                    const py::object& label_smoothing, const py::object& smoothing,
                    const py::object& temperature, const py::object& softcap,
                    const py::object& z_loss, const py::object& reduction,
                    const py::object& denominator, const py::object& empty, py::ssize_t first,
                    py::ssize_t total, bool with_gradient, const py::object& out)
      : options(cross_entropy_options(label_smoothing, smoothing, temperature, softcap, z_loss,
                                      reduction, denominator, empty)),
        a(check_cross_entropy(logits, target, axis, target_probabilities, weight, sample_weight,
                              as_integer(ignore_index, "ignore_index"), total)),
        first_class(first), all_classes(total) {
    check_smoothing(options, a);
    if (first < 0 || a.classes > total - first)
      throw py::value_error("logits: expected at most the " + std::to_string(total - first) +
                            " classes from class " + std::to_string(first) + " on, got " +
                            std::to_string(a.classes));
    if (with_gradient) {
      dlogits =
          out.is_none() ? new_array(shape_of(a.logits), a.logits) : as_output(out, "out", a.logits);
      if (!out.is_none())
        check_cross_entropy_out(*dlogits, a);
    }
    set_denominators();
    set_known();
    if (a.classes < kLeastClasses)
      pad();
  }

  py::ssize_t rows() const { return a.rows; }

  // The sums of each row's own classes, a RowSums each.
  py::array_t<double> sweep() const {
    py::array_t<double> sums({a.rows, kRowSums});
    RowSums* rows = checked_sums(sums);
    with_problem([&](const auto& problem) { ops::sweep_cross_entropy(problem, rows); });
    return sums;
  }

  // The fields that have to be added over the shards; the others are known to each.
  std::vector<std::size_t> used() const {
    std::vector<std::size_t> fields = {kOthers};
    const auto use = [&](bool condition, std::initializer_list<std::size_t> more) {
      if (condition)
        fields.insert(fields.end(), more);
    };
    use(single(), {kTargetLogit});
    use(a.points > 0 && !known.point_mass, {kPointMass});
    use(a.points > 1, {kPointMoment});
    use(a.probabilities.has_value(), {kMass, kMoment});
    use(smooths() && !known.smoothed_mass, {kSmoothedMass});
    use(smooths(), {kSmoothedMoment});
    use(smooths() && !known.finite, {kFinite});
    return fields;
  }

  void shift(const py::array_t<double>& sums, const py::array_t<double>& maxima) const {
    RowSums* rows = checked_sums(sums);
    require_shape(maxima, "maxima", {a.rows});
    for (py::ssize_t row = 0; row < a.rows; ++row)
      ops::shift_sums(rows[row], maxima.at(row), scale());
  }

  // (loss, dlogits or None) from the sums of all shards, which are completed in place.
  py::tuple finish(const py::array_t<double>& sums, double loss_divisor, double z_divisor) const {
    RowSums* rows = checked_sums(sums);
    const bool mean = options.reduction == ops::Reduction::kMean;
    const bool is_empty = mean && loss_divisor == 0;
    if (is_empty && options.empty == Empty::kRaise)
      throw py::value_error("target: the mean is over no rows (all are ignored or weightless)");
    for (py::ssize_t row = 0; row < a.rows; ++row)
      ops::complete_sums(rows[row], known, scale());
    const py::array losses(compute_dtype(a.logits), a.batch);
    double loss = 0;
    with_problem([&](const auto& problem) {
      using T = std::remove_const_t<std::remove_pointer_t<decltype(problem.weight)>>;
      ops::RowResults<T> results{};
      results.loss = data_of<T>(losses);
      loss = ops::finish_cross_entropy(problem, {loss_divisor, z_divisor}, rows, results);
    });
    if (short_dlogits)
      unpad();
    py::object returned = py::float_(!is_empty ? loss : options.empty_mean());
    if (options.reduction == ops::Reduction::kNone)
      returned = a.batch.empty() ? py::object(losses.attr("item")()) : py::object(losses);
    return py::make_tuple(returned, dlogits ? py::object(*dlogits) : py::none());
  }

  // What a mean divides by: the loss, of which it may be this shard's part, and the z-loss.
  double loss_denominator = 1, z_denominator = 1;
  bool denominator_is_part = false;

private:
  const CrossEntropyOptions options;
  CrossEntropyArguments a;
  const py::ssize_t first_class, all_classes;
  std::optional<py::array> dlogits;
  ops::KnownSums known;
  // Of a padded shard: its gradient, and what the caller's arrays have.
  std::optional<py::array> short_dlogits;
  const py::ssize_t caller_axis = a.axis;

  bool single() const { return a.points == 1; }
  bool smooths() const { return options.label_smoothing != 0; }

  double scale() const {
    const double exact = 1 / options.temperature;
    return dtype_of(a.logits) == DType::kFloat64 ? exact
                                                 : static_cast<double>(static_cast<float>(exact));
  }

  void set_known() {
    const double classes = static_cast<double>(all_classes);
    known.target = single();
    if (single() && !a.weight && !a.mass)
      known.point_mass = 1 - options.label_smoothing;
    if (options.smoothing == ops::Smoothing::kAllowed)
      return;
    known.finite = classes;
    if (!a.weight)
      known.smoothed_mass = classes - (options.smoothing == ops::Smoothing::kExcludeTarget ? 1 : 0);
  }

  void set_denominators() {
    if (options.reduction != ops::Reduction::kMean)
      return;
    if (options.denominator) {
      loss_denominator = z_denominator = *options.denominator;
      return;
    }
    denominator_is_part = single() && a.weight && !a.mass;
    with_problem([&](const auto& problem) {
      const auto denominators = ops::mean_denominators(problem);
      loss_denominator = denominators.loss;
      z_denominator = denominators.z_loss;
    });
  }

  void pad() {
    const py::object zero = py::int_(0);
    if (a.weight || smooths()) {
      const py::array ones =
          py::module_::import("numpy").attr("ones")(a.classes, compute_dtype(a.logits));
      a.weight = padded(a.weight ? *a.weight : ones, 0, zero);
    }
    if (a.probabilities)
      a.probabilities = padded(*a.probabilities, a.axis, zero);
    // A class behind the shard is not one of the padding.
    const py::ssize_t targets = a.target ? a.points * a.rows : 0;
    for (py::ssize_t i = 0; i < targets; ++i)
      if (a.target[static_cast<std::size_t>(i)] >= first_class + a.classes)
        a.target[static_cast<std::size_t>(i)] = kOtherSegment;
    const double masked = -std::numeric_limits<double>::infinity();
    a.logits = padded(a.logits, a.axis, py::float_(masked));
    a.axis = a.logits.ndim() - 1;
    if (dlogits)
      short_dlogits = new_array(shape_of(a.logits), a.logits);
  }

  void unpad() const {
    const py::object to = py::module_::import("numpy").attr("moveaxis")(*dlogits, caller_axis, -1);
    const py::slice shard(0, a.classes, 1);
    to[py::ellipsis()] = (*short_dlogits)[py::make_tuple(py::ellipsis(), shard)];
  }

  RowSums* checked_sums(const py::array_t<double>& sums) const {
    require_shape(sums, "sums", {a.rows, kRowSums});
    if (!(sums.flags() & py::array::c_style) || !sums.writeable())
      throw py::value_error("sums: expected a contiguous array that can be written to");
    return reinterpret_cast<RowSums*>(const_cast<double*>(sums.data()));
  }

  template <class F> void with_problem(F f) const {
    with_storage(a.logits, [&](auto type) {
      using S = decltype(type);
      using T = Compute<S>;
      const py::array* to = short_dlogits ? &*short_dlogits : dlogits ? &*dlogits : nullptr;
      const auto call = [&](auto problem) {
        problem.first = first_class;
        const GilReleased unlocked;
        f(problem);
      };
      if constexpr (!std::is_same_v<S, T>)
        if (a.probabilities && dtype_of(*a.probabilities) != dtype_of(a.logits))
          return call(cross_entropy_problem<S, T>(a, options, to));
      call(cross_entropy_problem<S, S>(a, options, to));
    });
  }
};

} // namespace

void register_cross_entropy_shard(py::module_& m) {
  py::class_<CrossEntropyShard>(m, "CrossEntropyShard")
      .def(py::init<const py::object&, const py::object&, const py::object&, const py::object&,
                    const py::object&, const py::object&, const py::object&, const py::object&,
                    const py::object&, const py::object&, const py::object&, const py::object&,
                    const py::object&, const py::object&, const py::object&, py::ssize_t,
                    py::ssize_t, bool, const py::object&>(),
           py::arg("logits"), py::arg("target"), py::arg("axis"), py::arg("target_probabilities"),
           py::arg("weight"), py::arg("sample_weight"), py::arg("ignore_index"),
           py::arg("label_smoothing"), py::arg("smoothing"), py::arg("temperature"),
           py::arg("softcap"), py::arg("z_loss"), py::arg("reduction"), py::arg("denominator"),
           py::arg("empty"), py::arg("first"), py::arg("total"), py::arg("with_gradient"),
           py::arg("out"))
      .def_property_readonly("rows", &CrossEntropyShard::rows)
      .def_property_readonly("used", &CrossEntropyShard::used)
      .def_readonly("loss_denominator", &CrossEntropyShard::loss_denominator)
      .def_readonly("z_denominator", &CrossEntropyShard::z_denominator)
      .def_readonly("denominator_is_part", &CrossEntropyShard::denominator_is_part)
      .def("sweep", &CrossEntropyShard::sweep)
      .def("shift", &CrossEntropyShard::shift, py::arg("sums"), py::arg("maxima"))
      .def("finish", &CrossEntropyShard::finish, py::arg("sums"), py::arg("loss_denominator"),
           py::arg("z_denominator"));
}

} // namespace softstep::bindings
