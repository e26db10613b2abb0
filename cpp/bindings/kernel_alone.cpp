// For the benchmarks: what a call costs beside its kernel, by running the kernel without the call.
#include "bindings/cross_entropy_call.hpp"
#include "bindings/gil.hpp"

#include <memory>

namespace softstep::bindings {
namespace {

// The mean cross-entropy of class targets with its gradient, `calls` times, with nothing of Python
// between them. Arguments are checked once.
double cross_entropy_alone(const py::object& logits, const py::object& target,
                           const py::object& out, std::int64_t calls) {
  const py::array x = as_float_input(logits, "logits");
  const CrossEntropyCall call({shape_of(x), as_axis(py::int_(-1), x, "logits"), x.dtype()},
                              {target, {}, {}, {}}, {});
  if (!call.by_class())
    throw py::value_error("target: expected class indices");
  const py::array dlogits = call.checked_out(out, x);
  return call.with_problem({x, x.ndim() - 1, nullptr, &dlogits}, 0, [&](const auto& problem) {
    using T = typename std::remove_cvref_t<decltype(problem)>::T;
    const std::unique_ptr<T[]> losses(new T[static_cast<std::size_t>(call.rows())]);
    ops::RowResults<T> results{};
    results.loss = losses.get();
    double loss = 0;
    const GilReleased unlocked;
    for (std::int64_t k = 0; k < calls; ++k)
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
