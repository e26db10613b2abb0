// The sum of squares of a list of NumPy arrays.
#include "ops/norm.hpp"
#include "bindings/elements.hpp"
#include "bindings/gil.hpp"

namespace softstep::bindings {
namespace {

double sum_of_squares(const py::list& arrays) {
  std::vector<py::array> inputs; // keeps converted copies alive
  ops::NormTensors tensors;
  for (std::size_t k = 0; k < arrays.size(); ++k) {
    const std::string name = "params[" + std::to_string(k) + "]";
    inputs.push_back(as_float_input(arrays[k], name.c_str()));
    with_type(inputs.back(), [&](auto type) {
      using T = decltype(type);
      const auto elements = elements_of<T, 1>({&inputs.back()}, {ops::Access::kRead});
      if constexpr (sizeof(T) == sizeof(float))
        tensors.float32.push_back(elements);
      else
        tensors.float64.push_back(elements);
    });
  }
  const GilReleased unlocked;
  return ops::sum_of_squares(tensors);
}

} // namespace

void register_norm(py::module_& m) { m.def("sum_of_squares", &sum_of_squares, py::arg("arrays")); }

} // namespace softstep::bindings
