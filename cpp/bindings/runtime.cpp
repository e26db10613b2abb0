// ISA levels, threads, the build; the vector mathematics and memory of results for their tests.
#include "bindings/arrays.hpp"
#include "bindings/result_memory.hpp"
#include "dispatch/dispatch.hpp"
#include "parallel/parallel.hpp"

#include <pybind11/stl.h>

namespace softstep::bindings {
namespace {

std::string compiler() {
#if defined(__clang__)
  return std::string("Clang ") + __clang_version__;
#else
  return std::string("GCC ") + __VERSION__;
#endif
}

// The vector mathematics of the active level, for the accuracy tests.
py::array map(const py::array& x,
              void (*MathKernels<float>::*f32)(float*, const float*, Size) noexcept,
              void (*MathKernels<double>::*f64)(double*, const double*, Size) noexcept) {
  const py::array input = as_float_input(x, "x");
  if (!(input.flags() & py::array::c_style))
    throw py::value_error("x: expected a C-contiguous array");
  const py::array y = new_array(shape_of(input), input);
  with_type(input, [&](auto type) {
    using T = decltype(type);
    const MathKernels<T>& kernels = *dispatch::active_for<T>().math;
    T* to = static_cast<T*>(const_cast<void*>(y.data()));
    const T* from = static_cast<const T*>(input.data());
    if constexpr (sizeof(T) == sizeof(float))
      (kernels.*f32)(to, from, input.size());
    else
      (kernels.*f64)(to, from, input.size());
  });
  return y;
}

} // namespace

void register_runtime(py::module_& m) {
  m.def("active_isa", [] { return dispatch::active().isa; });
  m.def("available_isas", &dispatch::available_isas);
  m.def("use_isa", &dispatch::use_isa, py::arg("isa"));
  m.def("set_num_threads", &parallel::set_limit, py::arg("n"));
  m.def("get_num_threads", &parallel::num_threads);
  m.def("thread_limit", &parallel::limit);
  m.def("num_threads_source", &parallel::num_threads_source);
  m.def("parallel_backend", &parallel::backend);
  m.def("compiler", &compiler);
  m.def("release_results", &release_results);
  m.def("see_foreign_arrays", &see_foreign_arrays, py::arg("views"));
  m.def(
      "as_array", [](const py::object& object, const char* name) { return as_numpy(object, name); },
      py::arg("object"), py::arg("name").none(false));
  m.def("refuse_masked", &refuse_masked, py::arg("object"), py::arg("name"));
  const auto define_map = [&](const char* name, auto of_float, auto of_double) {
    m.def(name, [=](const py::array& x) { return map(x, of_float, of_double); }, py::arg("x"));
  };
  define_map("exp", &MathKernels<float>::exp, &MathKernels<double>::exp);
  define_map("log", &MathKernels<float>::log, &MathKernels<double>::log);
  define_map("log1p", &MathKernels<float>::log1p, &MathKernels<double>::log1p);
  define_map("tanh", &MathKernels<float>::tanh, &MathKernels<double>::tanh);
  define_map("tanh_slope", &MathKernels<float>::tanh_slope, &MathKernels<double>::tanh_slope);
}

} // namespace softstep::bindings
