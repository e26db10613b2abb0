// The cross-entropy of logits that are there: all rows at once.
#include "bindings/cross_entropy_call.hpp"
#include "bindings/fastcall.hpp"
#include "ops/target_gradients.hpp"

#include <algorithm>
#include <limits>
#include <string_view>

namespace softstep::bindings {
namespace {

// The caller's extra results by name.
class ExtraResults {
public:
  ExtraResults(const py::handle& names, const CrossEntropyCall& call) : call_(call) {
    for (const py::handle& name : names)
      wanted_.emplace_back(as_text(name, "extra"));
  }
  bool wants(const char* name) const {
    return std::find(wanted_.begin(), wanted_.end(), name) != wanted_.end();
  }
  // One entry a row.
  template <class T> void add_to(ops::RowResults<T>& to) {
    const py::dtype computed = compute_dtype(call_.form.dtype);
    const auto add = [&]<class R>(R*& rows, const char* name, const py::dtype& dtype) {
      if (wants(name))
        rows = data_of<R>(new_result(name, dtype, call_.form.batch));
    };
    add(to.lse, "lse", computed);
    add(to.nll, "nll", computed);
    add(to.entropy, "entropy", computed);
    add(to.dtemperature, "dtemperature", computed);
    add(to.argmax, "argmax", py::dtype::of<std::int32_t>());
  }
  // The gradients with respect to what the loss is weighed by: of each point of a target, or of
  // each class, classes last; and of the class weights.
  template <class S, class Q>
  void add_target_gradients(const ops::CrossEntropyProblem<S, Q>& problem) {
    using T = Compute<S>;
    const py::dtype computed = compute_dtype(call_.form.dtype);
    ops::TargetGradients<T> gradients;
    if (wants("dtarget")) {
      std::vector<py::ssize_t> shape = call_.form.batch;
      shape.push_back(call_.points() > 0 ? call_.points() : call_.form.classes);
      gradients.dtarget = data_of<T>(new_result("dtarget", computed, shape));
    }
    if (wants("dweight"))
      gradients.dweight = data_of<T>(new_result("dweight", computed, {call_.form.classes}));
    if (!gradients.dtarget && !gradients.dweight)
      return;
    const GilReleased unlocked;
    ops::target_gradients(problem, call_.denominators, gradients);
  }
  py::dict results;

private:
  const CrossEntropyCall& call_;
  std::vector<std::string> wanted_;

  py::array new_result(const char* name, const py::dtype& dtype,
                       const std::vector<py::ssize_t>& shape) {
    const py::array array(dtype, shape);
    results[name] = array;
    return array;
  }
};

// What is returned as the loss: a sum, or for "none" the array of the rows.
py::object returned_loss(const CrossEntropyCall& call, double sum, const py::array& losses) {
  if (call.options.reduction == Reduction::kNone)
    return bindings::returned(losses);
  return py::float_(call.is_empty_mean() ? empty_mean(call.options) : sum);
}

// (loss, dlogits or None); with extra results also (these, upstream, z_upstream), where upstream is
// d(result) / d(loss of a row).
py::tuple run(const CrossEntropyCall& call, const py::array& logits, const py::handle& extra,
              const std::optional<py::array>& dlogits) {
  call.refuse_empty_mean();
  const CrossEntropyOperands operands{logits, logits.ndim() + call.form.axis, call.probabilities(),
                                      dlogits ? &*dlogits : nullptr};
  return call.with_problem(operands, 0, [&](const auto& problem) -> py::tuple {
    using T = typename std::remove_cvref_t<decltype(problem)>::T;
    ops::RowResults<T> results{};
    py::array losses;
    std::unique_ptr<T[]> scratch; // of a reduction
    if (call.options.reduction == Reduction::kNone)
      results.loss = data_of<T>(losses = py::array(compute_dtype(logits), call.form.batch));
    else
      scratch.reset(results.loss = new T[static_cast<std::size_t>(call.rows())]);
    std::optional<ExtraResults> extras;
    if (extra) {
      extras.emplace(extra, call).add_to(results);
      extras->add_target_gradients(problem); // before the gradient overwrites the logits
    }
    double loss = 0;
    {
      const GilReleased unlocked;
      loss = ops::cross_entropy(problem, call.denominators, results);
    }
    py::object returned = returned_loss(call, loss, losses);
    const py::object gradient = dlogits ? py::object(*dlogits) : py::none();
    if (!extra)
      return py::make_tuple(std::move(returned), gradient);
    const bool empty = call.is_empty_mean();
    return py::make_tuple(std::move(returned), gradient, extras->results,
                          empty ? 0 : 1 / call.denominators.loss,
                          empty ? 0 : 1 / call.denominators.z_loss);
  });
}

// Arguments beside the options, which follow them.
enum Place : std::size_t {
  kLogits,
  kTarget,
  kAxis,
  kTargetProbabilities,
  kWeight,
  kSampleWeight,
  kExtra,
  kWithGradient,
  kOut,
  kFirstOption
};
using CrossEntropyArguments = Arguments<kFirstOption + kOptions>;

CrossEntropyArguments::Names interned; // with the module

void intern_names() {
  std::size_t count = 0;
  const auto add = [&](const char* name, const auto&...) {
    interned[count++] = PyUnicode_InternFromString(name);
  };
  for (const char* name : {"logits", "target", "axis", "target_probabilities", "weight",
                           "sample_weight", "extra", "with_gradient", "out"})
    add(name);
  const CrossEntropyOptions options;
  for_each_option(add, options);
}

py::tuple cross_entropy(const CrossEntropyArguments& given) {
  if (!given[kLogits] || !given[kTarget])
    throw py::type_error("expected logits and target");
  const auto options = cross_entropy_options(std::span(given.all()).last<kOptions>());
  const py::array logits = as_any_float_input(given[kLogits], "logits");
  const py::ssize_t axis = given[kAxis] ? as_axis(given[kAxis], logits, "logits")
                                        : as_axis(py::int_(-1), logits, "logits");
  const CrossEntropyCall call(
      {shape_of(logits), axis, logits.dtype()},
      {given[kTarget], given[kTargetProbabilities], given[kWeight], given[kSampleWeight]}, options);
  std::optional<py::array> dlogits;
  if (given[kWithGradient] && as_flag(given[kWithGradient], "with_gradient")) {
    const py::handle out = given[kOut];
    dlogits =
        out && !out.is_none() ? call.checked_out(out, logits) : new_array(shape_of(logits), logits);
  }
  const py::handle extra = given[kExtra];
  return run(call, logits, extra && !extra.is_none() ? extra : py::handle(), dlogits);
}

PyObject* cross_entropy_fastcall(PyObject*, PyObject* const* values, Py_ssize_t count,
                                 PyObject* keywords) {
  return to_python(
      [&] { return cross_entropy(CrossEntropyArguments(interned, values, count, keywords)); });
}

// The options as numbers, with choices as the kernels number them; raises as a call would.
py::dict cross_entropy_numbers(bool by_class, const py::kwargs& keywords) {
  const CrossEntropyOptions options = cross_entropy_options(keywords);
  check_targets(options, by_class);
  py::dict numbers;
  for_each_option(
      [&]<class Option>(const char* name, const Option& option) {
        if constexpr (std::is_enum_v<Option>)
          numbers[name] = static_cast<int>(option);
        else
          numbers[name] = option;
      },
      options);
  return numbers;
}

} // namespace

void register_cross_entropy(py::module_& m) {
  intern_names();
  define(m, "cross_entropy", &cross_entropy_fastcall,
         "Loss and gradient of all rows; options of the cross-entropy by name.");
  m.def("cross_entropy_numbers", &cross_entropy_numbers, py::arg("by_class") = true);
}

} // namespace softstep::bindings
