// The extension's table of contents.
#include "dispatch/dispatch.hpp"
#include "parallel/parallel.hpp"

#include <pybind11/pybind11.h>

#include <stdexcept>

namespace py = pybind11;

namespace softstep::bindings {
void register_runtime(py::module_& m);
void register_softmax(py::module_& m);
void register_cross_entropy(py::module_& m);
void register_cross_entropy_parts(py::module_& m);
void register_panel(py::module_& m);
void register_product(py::module_& m);
void register_filter(py::module_& m);
void register_pair(py::module_& m);
void register_hinge(py::module_& m);
void register_jax(py::module_& m);
void register_norm(py::module_& m);
void register_optimizer(py::module_& m);
void register_stream(py::module_& m);
void register_kernel_alone(py::module_& m);
} // namespace softstep::bindings

// What the GIL would guard is listed in docs/design/0013-free-threading.md.
PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
  using namespace softstep;
  m.doc() = "Kernels of softstep. Use the functions of the package, not these.";
  try {
    dispatch::initialise();
    parallel::initialise();
  } catch (const std::invalid_argument& error) {
    throw py::import_error(error.what());
  }
  bindings::register_runtime(m);
  bindings::register_softmax(m);
  bindings::register_cross_entropy(m);
  bindings::register_cross_entropy_parts(m);
  bindings::register_panel(m);
  bindings::register_product(m);
  bindings::register_filter(m);
  bindings::register_pair(m);
  bindings::register_hinge(m);
  bindings::register_jax(m);
  bindings::register_norm(m);
  bindings::register_optimizer(m);
  bindings::register_stream(m);
  bindings::register_kernel_alone(m);
}
