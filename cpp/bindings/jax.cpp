// What softstep.jax registers with XLA.
#include "jax/handlers.hpp"

#include <pybind11/pybind11.h>

namespace py = pybind11;

namespace softstep::bindings {
namespace {

// Capsules of the handlers by name.
py::dict jax_handlers() {
  py::dict handlers;
  const auto add = [&](const char* name, jax::Handler handler) {
    handlers[name] = py::capsule(reinterpret_cast<void*>(handler));
  };
  add("softstep_softmax", &jax::softmax);
  add("softstep_cross_entropy", &jax::cross_entropy);
  return handlers;
}

} // namespace

void register_jax(py::module_& m) { m.def("jax_handlers", &jax_handlers); }

} // namespace softstep::bindings
