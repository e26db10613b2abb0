// For the benchmarks: what a call costs beside its kernel, by running the kernel without the call.
#include "bindings/cross_entropy_arguments.hpp"
#include "bindings/gil.hpp"

#include <memory>

namespace softstep::bindings {
namespace {

// The mean cross-entropy of class targets with its gradient, `calls` times, with nothing of Python
// between them. Arguments are checked once.
double cross_entropy_alone(const py::object& logits, const py::object& target,
                           const py::object& out, std::int64_t calls) {
  const CrossEntropyArguments a = check_cross_entropy(logits, target, py::int_(-1), py::none(),
                                                      py::none(), py::none(), kIgnoredRow);
  if (a.points != 1)
    throw py::value_error("target: expected class indices");
  const py::array dlogits = as_output(out, "out", a.logits);
  refuse_overlap(dlogits, "out", a.logits, "logits");
  return with_type(a.logits, [&](auto type) {
    using T = decltype(type);
    ops::CrossEntropyProblem<T> problem;
    problem.rows = row_problem<T>(a.axis, a.logits, nullptr, &dlogits);
    problem.target = a.target.get();
    problem.points = a.points;
    const std::unique_ptr<T[]> losses(new T[static_cast<std::size_t>(a.rows)]);
    ops::RowResults<T> results{};
    results.loss = losses.get();
    double loss = 0;
    const GilReleased unlocked;
    for (std::int64_t call = 0; call < calls; ++call)
      loss = ops::cross_entropy(problem, ops::mean_denominators(problem), results);
    return loss;
  });
}

} // namespace

void register_kernel_alone(py::module_& m) {
  m.def("cross_entropy_alone", &cross_entropy_alone, py::arg("logits"), py::arg("target"),
        py::arg("out"), py::arg("calls"),
        "The mean loss, with its gradient in out, computed `calls` times without Python.");
}

} // namespace softstep::bindings
