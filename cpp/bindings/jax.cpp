// What softstep.jax registers with XLA.
#include <pybind11/pybind11.h>

#if defined(SOFTSTEP_JAX)
#include "jax/handlers.hpp"
#endif

namespace py = pybind11;

namespace softstep::bindings {
namespace {

// Capsules of the handlers by name; empty if the build has none.
py::dict jax_handlers() {
  py::dict handlers;
#if defined(SOFTSTEP_JAX)
  const auto add = [&](const char* name, jax::Handler handler) {
    handlers[name] = py::capsule(reinterpret_cast<void*>(handler));
  };
  add("softstep_softmax", &jax::softmax);
  add("softstep_cross_entropy", &jax::cross_entropy);
#endif
  return handlers;
}

} // namespace

void register_jax(py::module_& m) { m.def("jax_handlers", &jax_handlers); }

} // namespace softstep::bindings
