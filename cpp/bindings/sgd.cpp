#include "ops/sgd.hpp"
#include "bindings/elements.hpp"
#include "bindings/gil.hpp"

#include <pybind11/stl.h>

#include <algorithm>

namespace softstep::bindings {
namespace {

using ops::Access;

// An item of a list as the user knows it: "params[3]".
std::string name_of(const char* list, std::size_t index) {
  return std::string(list) + "[" + std::to_string(index) + "]";
}

struct Tensor {
  py::array array;
  const char* list;
  std::size_t index;
  bool written;
};

Tensor param_tensor(const py::handle& object, std::size_t index) {
  const std::string name = name_of("params", index);
  if (!py::isinstance<py::array>(object))
    throw py::type_error(name + ": expected a NumPy array, got " +
                         std::string(py::str(py::type::handle_of(object).attr("__name__"))));
  const auto array = py::reinterpret_borrow<py::array>(object);
  if (!py::isinstance<py::array_t<float>>(object) && !py::isinstance<py::array_t<double>>(object))
    throw py::type_error(name + ": expected float32 or float64, got " + dtype_text(array));
  return {as_output(object, name.c_str(), array), "params", index, true};
}

// Exact where the bounds of strided views interleave; a problem too hard to solve counts as
// overlap.
bool share_memory(const py::array& a, const py::array& b) {
  const py::module_ numpy = py::module_::import("numpy");
  try {
    return numpy.attr("shares_memory")(a, b, py::arg("max_work") = 100'000).cast<bool>();
  } catch (py::error_already_set& error) {
    if (error.matches(PyExc_RuntimeError)) // numpy.exceptions.TooHardError
      return true;
    throw;
  }
}

// No tensor that is written may share an element with another tensor.
void refuse_overlaps(const std::vector<Tensor>& tensors) {
  struct Interval {
    std::uintptr_t begin, end;
    std::size_t tensor;
  };
  std::vector<Interval> intervals;
  intervals.reserve(tensors.size());
  for (std::size_t k = 0; k < tensors.size(); ++k) {
    const py::array& array = tensors[k].array;
    auto begin = reinterpret_cast<std::uintptr_t>(array.data()), end = begin;
    for (py::ssize_t d = 0; d < array.ndim(); ++d) {
      const py::ssize_t reach = (array.shape(d) - 1) * array.strides(d);
      (reach < 0 ? begin : end) += static_cast<std::uintptr_t>(reach);
    }
    if (array.size() > 0)
      intervals.push_back({begin, end + static_cast<std::uintptr_t>(array.itemsize()), k});
  }
  std::sort(intervals.begin(), intervals.end(),
            [](const Interval& a, const Interval& b) { return a.begin < b.begin; });
  for (std::size_t i = 0; i < intervals.size(); ++i) {
    for (std::size_t j = i + 1; j < intervals.size() && intervals[j].begin < intervals[i].end;
         ++j) {
      const auto [first, later] = std::minmax(intervals[i].tensor, intervals[j].tensor);
      const Tensor &a = tensors[first], &b = tensors[later];
      if ((a.written || b.written) && share_memory(a.array, b.array))
        throw py::value_error(name_of(b.list, b.index) + ": overlaps " + name_of(a.list, a.index) +
                              " in memory");
    }
  }
}

void require_length(const py::list& list, const char* name, std::size_t expected) {
  if (list.size() != expected)
    throw py::value_error(std::string(name) + ": expected " + std::to_string(expected) +
                          " arrays, one for each parameter, got " + std::to_string(list.size()));
}

void check_params(const py::list& params) {
  std::vector<Tensor> tensors;
  for (std::size_t k = 0; k < params.size(); ++k)
    tensors.push_back(param_tensor(params[k], k));
  refuse_overlaps(tensors);
}

template <class T>
void add(std::vector<ops::SgdTensor<T>>& tensors, const py::array& param, const py::array& grad,
         const py::array* buffer, bool first) {
  tensors.push_back(
      {elements_of<T, 3>({&param, &grad, buffer}, {Access::kUpdate, Access::kRead,
                                                   first ? Access::kWrite : Access::kUpdate}),
       first});
}

// Parameters whose gradient is None are left alone. Everything is checked before anything is
// written.
void step(const py::list& params, const py::list& grads, const py::list& buffers,
          const std::vector<bool>& first, const SgdOptions& options) {
  const std::size_t count = params.size();
  require_length(grads, "grads", count);
  const bool has_buffers = options.momentum != 0;
  if (has_buffers)
    require_length(buffers, "buffers", count);
  if (first.size() != count)
    throw py::value_error("first: expected one flag for each parameter");
  std::vector<Tensor> tensors; // keeps every array alive
  tensors.reserve(3 * count);
  ops::SgdTensors problem;
  for (std::size_t k = 0; k < count; ++k) {
    tensors.push_back(param_tensor(params[k], k));
    const py::array param = tensors.back().array;
    const py::handle grad_object = grads[k];
    if (grad_object.is_none())
      continue;
    const std::string grad_name = name_of("grads", k), buffer_name = name_of("buffers", k);
    const py::array grad = as_same_dtype(grad_object, grad_name.c_str(), param);
    require_shape(grad, grad_name.c_str(), shape_of(param));
    tensors.push_back({grad, "grads", k, false});
    const py::array* buffer = nullptr;
    if (has_buffers) {
      tensors.push_back({as_output(buffers[k], buffer_name.c_str(), param), "buffers", k, true});
      buffer = &tensors.back().array;
    }
    with_type(param, [&](auto type) {
      if constexpr (sizeof(type) == sizeof(float))
        add(problem.float32, param, grad, buffer, first[k]);
      else
        add(problem.float64, param, grad, buffer, first[k]);
    });
  }
  refuse_overlaps(tensors);
  const GilReleased unlocked;
  ops::sgd_step(problem, options);
}

double sum_of_squares(const py::list& arrays) {
  std::vector<py::array> inputs; // keeps converted copies alive
  ops::NormTensors tensors;
  for (std::size_t k = 0; k < arrays.size(); ++k) {
    inputs.push_back(as_float_input(arrays[k], name_of("params", k).c_str()));
    with_type(inputs.back(), [&](auto type) {
      using T = decltype(type);
      const auto elements = elements_of<T, 1>({&inputs.back()}, {Access::kRead});
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

void register_sgd(py::module_& m) {
  m.def("sgd_check_params", &check_params, py::arg("params"));
  m.def(
      "sgd_step",
      [](const py::list& params, const py::list& grads, const py::list& buffers,
         const std::vector<bool>& first, double lr, double momentum, double dampening,
         double weight_decay, bool nesterov, bool decoupled, bool maximize) {
        step(params, grads, buffers, first,
             {lr, momentum, dampening, weight_decay, nesterov, decoupled, maximize, false});
      },
      py::arg("params"), py::arg("grads"), py::arg("buffers"), py::arg("first"), py::arg("lr"),
      py::arg("momentum"), py::arg("dampening"), py::arg("weight_decay"), py::arg("nesterov"),
      py::arg("decoupled"), py::arg("maximize"));
  m.def("sum_of_squares", &sum_of_squares, py::arg("arrays"));
}

} // namespace softstep::bindings
